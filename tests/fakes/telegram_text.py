"""Formatted text as the fake Telegram keeps it: parsed, trimmed, within its limits, offsets in UTF-16 units."""

import re
from collections.abc import Sequence
from typing import Any

from tests.fakes.telegram_html import parse_html, utf16
from tests.fakes.telegram_messages import Json
from tests.fakes.telegram_world import bad

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
KINDS = {
    "mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bold", "italic", "underline",
    "strikethrough", "spoiler", "blockquote", "expandable_blockquote", "code", "pre", "text_link", "text_mention",
    "custom_emoji", "date_time",
}  # fmt: skip
FOUND_BY_TELEGRAM = {
    "bot_command": re.compile(r"(?<![\w/@])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?"),
    "mention": re.compile(r"(?<![\w/@])@[A-Za-z0-9_]{3,32}"),
    "url": re.compile(r"https?://[^\s<>]+"),
    "hashtag": re.compile(r"(?<![\w#])#\w+"),
}


def formatted(text: str, parse_mode: str, entities: Any) -> tuple[str, tuple[Json, ...]]:
    """`parse_mode` wins over `entities`, as in the real API; both text and entities lose the outer white space."""
    found: Sequence[Json]
    if parse_mode.lower() == "html":
        text, found = parse_html(text)
    elif parse_mode:
        raise bad(f"unsupported parse_mode: this server reads HTML and entities, not {parse_mode}")
    else:
        found = _checked(text, entities or [])
    text = re.sub(r"[\x00-\x09\x0b\x0c\x0e-\x1f]", " ", text).replace("\r", " ")
    return _trimmed(text, found)


def message_text(text: str, parse_mode: str, entities: Any) -> tuple[str, tuple[Json, ...]]:
    text, found = formatted(text, parse_mode, entities)
    if not text:
        raise bad("message text is empty")
    if utf16(text) > TEXT_LIMIT:
        raise bad("message is too long")
    return text, found


def caption_text(fields: Json) -> tuple[str | None, tuple[Json, ...]]:
    """`fields` are those of a request or of one InputMedia; the caption is None when it is missing or blank."""
    text, found = formatted(
        str(fields.get("caption") or ""), str(fields.get("parse_mode") or ""), fields.get("caption_entities")
    )
    if utf16(text) > CAPTION_LIMIT:
        raise bad("message caption is too long")
    return text or None, found


def entities_of(text: str) -> tuple[Json, ...]:
    """What Telegram itself marks in the text of people."""
    found = [
        {"type": kind, "offset": utf16(text[: one.start()]), "length": utf16(one[0])}
        for kind, pattern in FOUND_BY_TELEGRAM.items()
        for one in pattern.finditer(text)
    ]
    return tuple(sorted(found, key=lambda one: int(str(one["offset"]))))


def _checked(text: str, entities: Any) -> list[Json]:
    if not isinstance(entities, list) or not all(isinstance(one, dict) for one in entities):
        raise bad("can't parse entities: expected an Array of MessageEntity")
    edges = _edges(text)
    for one in entities:
        kind, offset, length = one.get("type"), one.get("offset"), one.get("length")
        if kind not in KINDS:
            raise bad(f"can't parse entities: unsupported entity type {kind}")
        if not isinstance(offset, int) or not isinstance(length, int) or offset < 0 or length < 0:
            raise bad("can't parse entities: offset and length must be natural numbers")
        where = f"Entity beginning at UTF-16 offset {offset}"
        if offset + length > utf16(text):
            raise bad(f"{where} ends after the end of the text at UTF-16 offset {utf16(text)}")
        if not {offset, offset + length} <= edges:
            raise bad(f"{where} begins or ends in a middle of a UTF-16 symbol")
        needed = {"text_link": "url", "text_mention": "user", "custom_emoji": "custom_emoji_id"}.get(str(kind))
        if needed and not one.get(needed):
            raise bad(f"can't parse entities: a {kind} needs the field {needed}")
    return entities


def _edges(text: str) -> set[int]:
    """Offsets in UTF-16 units where a character begins or the text ends."""
    edges, at = {0}, 0
    for character in text:
        at += utf16(character)
        edges.add(at)
    return edges


def _trimmed(text: str, entities: Sequence[Json]) -> tuple[str, tuple[Json, ...]]:
    lost = utf16(text[: len(text) - len(text.lstrip())])
    text = text.strip()
    end = utf16(text)
    kept = []
    for one in entities:
        start = min(max(one["offset"] - lost, 0), end)
        stop = min(max(one["offset"] + one["length"] - lost, 0), end)
        if stop > start:
            kept.append(one | {"offset": start, "length": stop - start})
    return text, tuple(sorted(kept, key=lambda one: (one["offset"], -one["length"])))
