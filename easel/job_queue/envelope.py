"""Signed, versioned envelopes: what stands in Redis is believed only with our signature."""

import hashlib
import hmac
import json
from typing import TypeVar

from pydantic import ValidationError

from easel.errors import Untrusted
from easel.jobs import SCHEMA, Frozen

T = TypeVar("T", bound=Frozen)

MAX_BYTES = 256 * 1024


def _sign(kind: str, version: int, body: str, key: bytes) -> str:
    return hmac.new(key, f"{version}.{kind}.{body}".encode(), hashlib.sha256).hexdigest()


def seal(kind: str, value: Frozen, key: bytes) -> str:
    """Return `{v, sig, body}` as JSON; `kind` keeps a result from passing as a job."""
    body = value.model_dump_json()
    return json.dumps({"v": SCHEMA, "sig": _sign(kind, SCHEMA, body, key), "body": body})


def unseal(kind: str, text: bytes | str, model: type[T], key: bytes) -> T:
    """Return the value inside; raise `Untrusted` for a wrong signature, version or shape."""
    if len(text) > MAX_BYTES:
        raise Untrusted(f"A {kind} in Redis is larger than {MAX_BYTES} bytes.")
    try:
        outer = json.loads(text)
        version, signature, body = int(outer["v"]), str(outer["sig"]).encode(), str(outer["body"])
        ours = _sign(kind, version, body, key).encode()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Untrusted(f"A {kind} in Redis is not an envelope.") from error
    if not hmac.compare_digest(signature, ours):
        raise Untrusted(f"A {kind} in Redis is not signed with our EASEL_KEY.")
    if not SCHEMA - 1 <= version <= SCHEMA + 1:
        raise Untrusted(f"A {kind} in Redis has version {version}; this program reads {SCHEMA}. Update both sides.")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise Untrusted(f"A {kind} in Redis does not have the shape of version {SCHEMA}.") from error
