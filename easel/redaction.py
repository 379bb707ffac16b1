"""Hides secrets in text that people or machines will read."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pydantic import SecretStr

from easel.settings import Settings

_SHORT = 8
"""Characters; a shorter secret may be part of common words and is hidden only where it stands alone."""

_SHAPES = (
    # Interaction tokens are made by Discord while we run; only the place they stand in gives them away.
    (re.compile(r"(/(?:webhooks|interactions)/[^/\s]+/)[^/?#\s\"'<>\\]+"), r"\1***"),
    (re.compile(r"(token\\?['\"]?[:=] ?\\?['\"])[^'\"\\]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"(\bbot)[0-9]+(?::|%3A)[A-Za-z0-9_-]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"(://)[^/?#@\s]+@"), r"\1***@"),
)

Redact = Callable[[str], str]


def redactor(secrets: Iterable[str]) -> Redact:
    """Return what puts `***` for every one of these secrets, however it is escaped, and for what looks like a token."""
    spellings = sorted({spelling for secret in secrets for spelling in _spellings(secret)}, key=len, reverse=True)
    known = re.compile("|".join(map(_pattern, spellings)) or r"(?!)")

    def redact(text: str) -> str:
        text = known.sub("***", text)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    return redact


def secrets_of(settings: Settings) -> Iterator[str]:
    for name, value in settings:
        if isinstance(value, SecretStr) and name != "redis_url":
            yield value.get_secret_value()
    if settings.telegram_token is not None:
        yield settings.telegram_token.get_secret_value().partition(":")[2]
    if settings.redis_url is not None:
        # Without its password the address is no secret, and good to see.
        parts = urlsplit(settings.redis_url.get_secret_value())
        yield from (parts.password or "", unquote(parts.password or ""))
        yield from parse_qs(parts.query).get("password", [])


def _spellings(secret: str) -> set[str]:
    """Return how a secret looks in text, in an address, in `repr` and in JSON."""
    escaped = {repr(secret)[1:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1]}
    return {secret, quote(secret, safe=""), *escaped} - {""}


def _pattern(spelling: str) -> str:
    pattern = re.escape(spelling)
    return pattern if len(spelling) >= _SHORT else rf"(?<![0-9A-Za-z]){pattern}(?![0-9A-Za-z])"
