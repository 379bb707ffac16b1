"""An address that a person gave, in its one spelling, and whether what it leads to is open to everybody."""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urljoin

from yarl import URL

from easel.errors import BadValue

MAX_LENGTH = 2000
"""Characters."""

PORTS = {"http": 80, "https": 443}

_NO_HOST = "That address names no host; it should look like https://example.com/picture.png."

_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<place>[^/?#]*)(?P<target>[^#]*))?.*")
_PLACE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@]+))(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AS_IT_IS = "".join(map(chr, range(0x21, 0x7F)))
"""What stays in the path and the query: signed addresses hold only in the very spelling that was signed."""

# From the IANA special-purpose address registries; multicast and reserved addresses are the last row.
_CLOSED_FOUR = [
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "168.63.129.16/32"),  # the last one is Azure's host, seen from inside
        "224.0.0.0/3",
    )
]
_OPEN_SIX = IPv6Network("2000::/3")
_CLOSED_SIX = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as a network that has only IPv6 sees them (RFC 6052)."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An http or https address in its one spelling, all ASCII, without fragment and credentials."""

    scheme: str
    host: str
    """A name in lower case or an IP address, IPv6 without brackets."""
    port: int
    target: str
    """Path and query."""

    @property
    def place(self) -> str:
        """Host and port as they stand in an address, the port only where it must."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> URL:
        return URL(f"{self.scheme}://{self.place}{self.target}", encoded=True)

    def is_named_in(self, hosts: AbstractSet[str]) -> bool:
        """Say whether the operator named this host, alone (`nas.lan`) or for one port (`nas.lan:8080`)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return not {self.host, host, f"{host}:{self.port}"}.isdisjoint(hosts)

    def followed_by(self, location: str) -> "WebAddress":
        """Return where a redirect from here leads; raises BadValue for one that nobody honest needs."""
        if not location:
            raise BadValue("That address leads nowhere; please give another one.")
        try:
            joined = urljoin(str(self.url), location)
        except ValueError as error:
            raise BadValue("That address leads to something that is no address.") from error
        there = web_address(joined)
        if self.scheme == "https" and there.scheme == "http":
            raise BadValue("That address leads from https:// to http://; please give one that does not.")
        return there


def web_address(text: str) -> WebAddress:
    """Read an address as a person writes it; raises BadValue for what a browser would have to guess at."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise BadValue(f"That address has {len(text):,} characters; at most {MAX_LENGTH:,} are possible.")
    if not text.isprintable() or " " in text or "\\" in text:
        raise BadValue("An address has no spaces, line breaks, backslashes or invisible characters.")
    shape = _SHAPE.fullmatch(text)
    if not shape or shape["scheme"].lower() not in PORTS or shape["place"] is None:
        raise BadValue("Only addresses that begin with http:// or https:// can be opened.")
    if "@" in shape["place"]:
        raise BadValue("An address with a user name or password in it is not opened.")
    place = _PLACE.fullmatch(shape["place"])
    scheme = shape["scheme"].lower()
    port = int(place["port"] or PORTS[scheme]) if place else 0
    if not place or not 0 < port < 2**16:
        raise BadValue(_NO_HOST)
    host = _six(place["six"]) if place["six"] else _name(place["name"])
    target = quote(shape["target"], safe=_AS_IT_IS)
    return WebAddress(scheme, host, port, target if target.startswith("/") else f"/{target}")


def is_public(address: str) -> bool:
    """Say whether an IP address is one that everybody on the internet can reach; False for what is none."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip in _TRANSLATED:
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _CLOSED_FOUR)
    # All other space is closed, whatever it will be used for: mapped, site-local, unique local, link-local.
    return ip in _OPEN_SIX and not any(ip in network for network in _CLOSED_SIX)


def _six(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except AddressValueError as error:
        raise BadValue(_NO_HOST) from error


def _name(text: str) -> str:
    """Return a host's name as it is looked up; raises BadValue for the spellings of numbers that only C libraries read."""
    try:
        name = (URL.build(scheme="http", host=text).raw_host or "").removesuffix(".")
    except ValueError as error:
        raise BadValue(_NO_HOST) from error
    if not _NAME.fullmatch(name):
        raise BadValue(_NO_HOST)
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            return str(IPv4Address(name))
        except AddressValueError as error:
            raise BadValue(_NO_HOST) from error
    return name
