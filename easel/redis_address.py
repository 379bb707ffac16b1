"""Which Redis may carry the queue: one that strangers can not write to or listen in on."""

import ipaddress
from urllib.parse import SplitResult, parse_qs, urlsplit

_LOOSE = "unless EASEL_ALLOW_INSECURE_REDIS=1"


def objection(address: str, *, insecure: bool) -> str:
    """Say what a Redis address must be and is not; empty where nothing is wrong. Never quotes the address."""
    parts = _parts(address)
    if parts is None:
        return "a redis://, rediss:// or unix:// address"
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if insecure or parts.scheme == "unix" or _is_loopback(parts.hostname or ""):
        return ""
    if not (parts.password or options.get("password")):
        return f"an address with a password (redis://:PASSWORD@host:6379/0), as it is on another machine, {_LOOSE}"
    if not _checks_certificate(options):
        return f"an address that has the certificate checked (drop ssl_cert_reqs and ssl_check_hostname), {_LOOSE}"
    return ""


def _parts(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        fits = {
            "redis": bool(parts.hostname) and parts.port != 0,
            "rediss": bool(parts.hostname) and parts.port != 0,
            "unix": bool(parts.path),
        }
    except ValueError:
        return None
    return parts if fits.get(parts.scheme) else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checks_certificate(options: dict[str, str]) -> bool:
    required = options.get("ssl_cert_reqs", "required").lower() in {"required", "cert_required"}
    return required and options.get("ssl_check_hostname", "true").lower() in {"true", "1", "yes", "y", "t", "on"}
