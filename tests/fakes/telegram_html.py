"""Telegram's HTML: tags to entities, refused where the real Bot API (td/telegram/MessageEntity.cpp) refuses it."""

import html
import re
from dataclasses import dataclass, field

from tests.fakes.telegram_messages import Json
from tests.fakes.telegram_world import ApiError, bad

TAGS = {
    "a": "text_link", "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "span": "spoiler", "tg-spoiler": "spoiler",
    "tg-emoji": "custom_emoji", "code": "code", "pre": "pre", "blockquote": "blockquote",
}  # fmt: skip
# Named entities besides these four stay as they are written.
REFERENCE = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|lt|gt|amp|quot);")
TAG_NAME = re.compile(r"[^\s>]*")
ATTRIBUTE = re.compile(r"""\s*([^\s=>]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([a-zA-Z0-9.-]+)))?""")


def utf16(text: str) -> int:
    """Length in UTF-16 units, which Telegram counts offsets and limits in."""
    return len(text.encode("utf-16-le")) // 2


@dataclass(slots=True)
class _Open:
    tag: str
    offset: int
    start: int
    attributes: dict[str, str]


@dataclass(slots=True)
class _Reader:
    source: str
    at: int = 0
    text: str = ""
    open: list[_Open] = field(default_factory=list)
    entities: list[Json] = field(default_factory=list)

    def refused(self, problem: str) -> ApiError:
        return bad(f"can't parse entities: {problem}")

    def byte(self) -> int:
        return len(self.source[: self.at].encode())

    def read(self) -> tuple[str, list[Json]]:
        while self.at < len(self.source):
            if self.source[self.at] == "<":
                self._end_tag() if self.source.startswith("</", self.at) else self._start_tag()
            elif found := REFERENCE.match(self.source, self.at):
                self.text += html.unescape(found[0])
                self.at = found.end()
            else:
                self.text += self.source[self.at]
                self.at += 1
        if self.open:
            raise self.refused(f'Can\'t find end tag corresponding to start tag "{self.open[-1].tag}"')
        return self.text, self.entities

    def _start_tag(self) -> None:
        found = TAG_NAME.match(self.source, self.at + 1)
        tag = found[0].lower() if found else ""
        if found is None or found.end() == len(self.source):
            raise self.refused(f"Unclosed start tag at byte offset {self.byte()}")
        if tag not in TAGS:
            raise self.refused(f'Unsupported start tag "{tag}" at byte offset {self.byte()}')
        attributes, end = self._attributes(found.end())
        if tag == "span" and attributes.get("class") != "tg-spoiler":
            raise self.refused(f'Tag "span" must have class "tg-spoiler" at byte offset {self.byte()}')
        self.open.append(_Open(tag, utf16(self.text), len(self.text), attributes))
        self.at = end

    def _attributes(self, at: int) -> tuple[dict[str, str], int]:
        found: dict[str, str] = {}
        while one := ATTRIBUTE.match(self.source, at):
            found[one[1].lower()] = html.unescape(one[2] or one[3] or one[4] or "")
            at = one.end()
        closing = re.compile(r"\s*>").match(self.source, at)
        if closing is None:
            raise self.refused(f"Unclosed start tag at byte offset {self.byte()}")
        return found, closing.end()

    def _end_tag(self) -> None:
        if not self.open:
            raise self.refused(f"Unexpected end tag at byte offset {self.byte()}")
        found = re.compile(r"</([^\s>]*)\s*>").match(self.source, self.at)
        if found is None:
            raise self.refused(f"Unclosed end tag at byte offset {self.byte()}")
        one = self.open.pop()
        if found[1] and found[1].lower() != one.tag:
            wrong = f'expected "</{one.tag}>", found "</{found[1].lower()}>"'
            raise self.refused(f"Unmatched end tag at byte offset {self.byte()}, {wrong}")
        self.at = found.end()
        if len(self.text) > one.start:
            self._close(one)

    def _close(self, one: _Open) -> None:
        entity: Json = {"type": TAGS[one.tag], "offset": one.offset, "length": utf16(self.text) - one.offset}
        if one.tag == "a":
            entity["url"] = one.attributes.get("href") or self.text[one.start :]
        elif one.tag == "tg-emoji":
            entity["custom_emoji_id"] = one.attributes.get("emoji-id", "")
        elif one.tag == "blockquote" and "expandable" in one.attributes:
            entity["type"] = "expandable_blockquote"
        elif one.tag == "code" and self.open and self.open[-1].tag == "pre":
            # <pre><code class="language-x"> is one entity: the code only tells the language.
            self.open[-1].attributes["language"] = one.attributes.get("class", "").removeprefix("language-")
            return
        elif one.tag == "pre" and one.attributes.get("language"):
            entity["language"] = one.attributes["language"]
        self.entities.append(entity)


def parse_html(source: str) -> tuple[str, list[Json]]:
    """The text without its tags, and its entities; raises ApiError 400 "can't parse entities"."""
    return _Reader(source).read()
