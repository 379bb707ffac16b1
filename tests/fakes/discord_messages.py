"""Messages of the fake Discord: what stands in them, and what an edit makes of that."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.fakes.discord_components import EMBED_TEXTS, numbered, references, shown, texts, walk
from tests.fakes.discord_files import Attachment, Shelf, Upload
from tests.fakes.discord_values import Json, User, bad_form, iso

EPHEMERAL, LOADING, COMPONENTS_V2 = 1 << 6, 1 << 7, 1 << 15


@dataclass(frozen=True, slots=True)
class Button:
    custom_id: str | None
    label: str
    style: int
    disabled: bool
    emoji: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class MessageState:
    """What stood in a message from one edit to the next; `via` is `bot`, `interaction` or `user`."""

    content: str = ""
    embeds: tuple[Json, ...] = ()
    components: tuple[Json, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    flags: int = 0
    via: str = "bot"
    at: float = field(default_factory=time.monotonic)

    @property
    def loading(self) -> bool:
        return bool(self.flags & LOADING)

    @property
    def text(self) -> str:
        """Everything people can read in it: content, embeds, text components."""
        return "\n".join(
            [self.content, *texts(self.embeds, EMBED_TEXTS), *texts(self.components, ("content",))]
        ).strip()

    @property
    def pinging_text(self) -> str:
        """The text in which mentions count: not that of embeds."""
        return "\n".join([self.content, *texts(self.components, ("content",))])

    @property
    def buttons(self) -> list[Button]:
        found = [part for part in walk(self.components) if part.get("type") == 2]
        return [
            Button(
                custom_id=part.get("custom_id"),
                label=part.get("label") or "",
                style=part["style"],
                disabled=bool(part.get("disabled")),
                emoji=(part.get("emoji") or {}).get("name"),
                url=part.get("url"),
            )
            for part in found
        ]


@dataclass(slots=True)
class Message:
    """A message and all that ever stood in it, the newest last; its fields are those of the newest state."""

    id: int
    channel_id: int
    author: User
    history: list[MessageState]
    type: int = 0
    application_id: int | None = None
    interaction_id: int | None = None
    interaction: Json | None = None
    reply_to: "Message | None" = None
    nonce: str | int | None = None
    visible_to: int | None = None
    """The one person who sees an ephemeral message."""
    mentions: tuple[User, ...] = ()
    pings: frozenset[str] = frozenset()
    """Who was notified: user ids, `everyone`, `role:<id>`."""
    created_at: float = field(default_factory=time.time)
    edited_at: float | None = None
    deleted: bool = False

    @property
    def state(self) -> MessageState:
        return self.history[-1]

    @property
    def content(self) -> str:
        return self.state.content

    @property
    def text(self) -> str:
        return self.state.text

    @property
    def embeds(self) -> tuple[Json, ...]:
        return self.state.embeds

    @property
    def components(self) -> tuple[Json, ...]:
        return self.state.components

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """All files, also those shown inside an embed (which Discord leaves out of its own list)."""
        return self.state.attachments

    @property
    def flags(self) -> int:
        return self.state.flags

    @property
    def buttons(self) -> list[Button]:
        return self.state.buttons

    @property
    def loading(self) -> bool:
        return self.state.loading

    @property
    def ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)

    def edit(self, state: MessageState) -> None:
        self.history.append(state)
        self.edited_at = time.time()

    def payload(self, shelf: Shelf) -> Json:
        inside = references(self.embeds)
        links = {attachment.filename: shelf.link(attachment) for attachment in self.attachments}
        optional: Json = {"nonce": self.nonce, "interaction_metadata": self.interaction}
        if self.application_id is not None:
            optional |= {"application_id": str(self.application_id)}
        if self.interaction_id is not None:
            optional |= {"webhook_id": str(self.application_id)}
        if self.reply_to is not None:
            reference = {"type": 0, "channel_id": str(self.channel_id), "message_id": str(self.reply_to.id)}
            optional |= {"message_reference": reference}
        return {
            "id": str(self.id),
            "channel_id": str(self.channel_id),
            "type": self.type,
            "author": self.author.payload(),
            "content": self.content,
            "embeds": shown(list(self.embeds), links),
            "components": shown(list(self.components), links),
            "attachments": [a.payload(links[a.filename]) for a in self.attachments if a.filename not in inside],
            "flags": self.flags,
            "mentions": [user.payload() for user in self.mentions],
            "mention_roles": [],
            "mention_everyone": "everyone" in self.pings,
            "timestamp": iso(self.created_at),
            "edited_timestamp": None if self.edited_at is None else iso(self.edited_at),
            "pinned": False,
            "tts": False,
        } | {name: value for name, value in optional.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Draft:
    """A create or an edit on its way in: the form, its files, where it goes and through which door."""

    body: Json
    files: Mapping[int, Upload]
    channel_id: int
    via: str
    ephemeral: bool = False

    def state(self, shelf: Shelf, old: MessageState | None, remarks: list[str]) -> MessageState:
        """Return what the message becomes; `remarks` gets what Discord would swallow in silence."""
        before = old or MessageState()
        flags = before.flags & ~LOADING if old else self.body.get("flags") or 0
        flags |= (self.body.get("flags") or 0) & COMPONENTS_V2
        embeds = self._given("embeds", before.embeds)
        state = MessageState(
            content=self.body.get("content", before.content) or "",
            embeds=tuple({"type": "rich"} | embed for embed in embeds),
            components=tuple(numbered(self._given("components", before.components))),
            attachments=tuple(self._attachments(shelf, old, remarks)),
            flags=flags | (EPHEMERAL if self.ephemeral else 0),
            via=self.via,
        )
        missing = references([*state.embeds, *state.components]) - {a.filename for a in state.attachments}
        remarks.extend(f"attachment://{name} names no file of the message, so nothing is shown" for name in missing)
        return state

    def _given(self, name: str, before: Sequence[Json]) -> Sequence[Json]:
        return self.body[name] or () if name in self.body else before

    def _attachments(self, shelf: Shelf, old: MessageState | None, remarks: list[str]) -> Iterator[Attachment]:
        """Yield what is attached afterwards: in v10 `attachments` names all of it, and new files alone replace the old."""
        listed: list[Json] | None = self.body.get("attachments")
        if "attachments" not in self.body and not self.files:
            yield from old.attachments if old else ()
            return
        if listed is None:
            listed = [{"id": index} for index in sorted(self.files)]
        kept = {str(attachment.id): attachment for attachment in (old.attachments if old else ())}
        named = {str(entry.get("id")) for entry in listed}
        for index in (index for index in self.files if str(index) not in named):
            remarks.append(f"files[{index}] is not named in `attachments`")
        for place, entry in enumerate(listed):
            number = str(entry.get("id"))
            if number in kept:
                yield kept[number]
            elif number.isdigit() and int(number) in self.files:
                yield shelf.put(self.files[int(number)], self.channel_id, entry, ephemeral=self.ephemeral)
            else:
                raise bad_form(f"attachments.{place}.id", "ATTACHMENT_NOT_FOUND", "Attachment data not found")


def pings(content: str, allowed: Json | None) -> frozenset[str]:
    """Who is notified by a new message with this text: `allowed` None lets every mention through."""
    parse = {"users", "roles", "everyone"} if allowed is None else set(allowed.get("parse") or ())
    listed = {kind: {str(number) for number in (allowed or {}).get(kind) or ()} for kind in ("users", "roles")}
    found = {user for user in re.findall(r"<@!?(\d+)>", content) if "users" in parse or user in listed["users"]}
    roles = (role for role in re.findall(r"<@&(\d+)>", content) if "roles" in parse or role in listed["roles"])
    everyone = {"everyone"} if "everyone" in parse and re.search(r"@(everyone|here)\b", content) else set()
    return frozenset(found | {f"role:{role}" for role in roles} | everyone)
