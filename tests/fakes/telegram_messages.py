"""People, chats and messages of the fake Telegram, each message with every state it has been in."""

import time
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class User:
    id: int
    first_name: str
    username: str | None = None
    language_code: str | None = "en"
    is_bot: bool = False

    def as_json(self) -> Json:
        shown = {"id": self.id, "is_bot": self.is_bot, "first_name": self.first_name, "username": self.username}
        if not self.is_bot:
            shown["language_code"] = self.language_code
        return {key: value for key, value in shown.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Photo:
    """`content` is what was uploaded; people are served JPEGs of at most 1280 pixels, listed in `sizes`."""

    content: bytes = field(repr=False)
    width: int
    height: int
    sizes: tuple[Json, ...] = field(repr=False)

    @property
    def file_id(self) -> str:
        return str(self.sizes[-1]["file_id"])


@dataclass(frozen=True, slots=True)
class Document:
    content: bytes = field(repr=False)
    name: str
    shown: Json = field(repr=False)

    @property
    def file_id(self) -> str:
        return str(self.shown["file_id"])


@dataclass(frozen=True, slots=True)
class State:
    """What people saw from `at` (monotonic seconds) until the next edit."""

    text: str | None = None
    caption: str | None = None
    entities: tuple[Json, ...] = ()
    photo: Photo | None = None
    document: Document | None = None
    markup: Json | None = None
    options: Json = field(default_factory=dict)
    """Flags of the message such as `has_media_spoiler`, as they stand in its JSON."""
    at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def kind(self) -> str:
        return "photo" if self.photo else "document" if self.document else "text"

    @property
    def words(self) -> str:
        return self.text or self.caption or ""

    def as_json(self) -> Json:
        shown: Json = {"text": self.text, "caption": self.caption, "reply_markup": self.markup, **self.options}
        shown["entities" if self.text is not None else "caption_entities"] = list(self.entities) or None
        shown["photo"] = list(self.photo.sizes) if self.photo else None
        shown["document"] = self.document.shown if self.document else None
        return {key: value for key, value in shown.items() if value is not None}


@dataclass(slots=True, eq=False)
class Message:
    message_id: int
    chat: "Chat" = field(repr=False)
    history: list[State]
    sender: User | None = None
    """None for channel posts."""
    sender_chat: "Chat | None" = field(default=None, repr=False)
    thread: int | None = None
    reply_to: "Message | None" = field(default=None, repr=False)
    extra: Json = field(default_factory=dict, repr=False)
    """Further fields of the message's JSON, such as `forward_origin`."""
    date: int = field(default_factory=lambda: int(time.time()))
    edit_date: int | None = None
    deleted: bool = False
    reactions: list[str] = field(default_factory=list)
    update_id: int | None = None
    """The last update that told the bot of this message; None when it was never told."""
    request: Json = field(default_factory=dict, repr=False)
    """The fields the bot sent it with; empty for messages of people."""

    @property
    def state(self) -> State:
        return self.history[-1]

    @property
    def kind(self) -> str:
        return self.state.kind

    @property
    def text(self) -> str | None:
        return self.state.text

    @property
    def caption(self) -> str | None:
        return self.state.caption

    @property
    def words(self) -> str:
        """The text or the caption, whichever there is."""
        return self.state.words

    @property
    def photo(self) -> bytes | None:
        """The bytes that were uploaded, before Telegram's own compression."""
        return self.state.photo.content if self.state.photo else None

    @property
    def document(self) -> bytes | None:
        return self.state.document.content if self.state.document else None

    @property
    def file_name(self) -> str | None:
        return self.state.document.name if self.state.document else None

    @property
    def keyboard(self) -> list[list[Json]]:
        return list((self.state.markup or {}).get("inline_keyboard", []))

    @property
    def labels(self) -> list[str]:
        return [button["text"] for row in self.keyboard for button in row]

    def become(self, state: State) -> None:
        self.history.append(state)
        self.edit_date = int(time.time())

    def as_json(self, *, quoted: bool = False) -> Json:
        """The Bot API's Message; a `quoted` one shows no further reply, as in the real API."""
        shown: Json = {
            "message_id": self.message_id,
            "from": self.sender.as_json() if self.sender else None,
            "sender_chat": self.sender_chat.as_json() if self.sender_chat else None,
            "chat": self.chat.as_json(),
            "date": self.date,
            "edit_date": self.edit_date,
            "message_thread_id": self.thread,
            "is_topic_message": True if self.thread and self.chat.is_forum else None,
            **self.extra,
        }
        if self.reply_to and not quoted and not self.reply_to.deleted:
            shown["reply_to_message"] = self.reply_to.as_json(quoted=True)
        return {key: value for key, value in shown.items() if value is not None} | self.state.as_json()


@dataclass(slots=True, eq=False)
class Chat:
    id: int
    type: str
    title: str
    username: str | None = None
    is_forum: bool = False
    topics: dict[int, str] = field(default_factory=dict)
    closed_topics: set[int] = field(default_factory=set)
    members: dict[int, str] = field(default_factory=dict)
    """User id to status: creator, administrator, member, left, kicked."""
    bot_status: str = "member"
    forbidden: set[str] = field(default_factory=set)
    """What the bot has no right to send here: `text`, `photo`, `document`."""
    migrated_to: int | None = None
    everything: list[Message] = field(default_factory=list, repr=False)
    actions: list[str] = field(default_factory=list, repr=False)
    """Chat actions the bot has shown, oldest first."""

    @property
    def messages(self) -> list[Message]:
        """What people see now, oldest first."""
        return [message for message in self.everything if not message.deleted]

    @property
    def from_bot(self) -> list[Message]:
        return [message for message in self.messages if message.request]

    def find(self, message_id: int) -> Message | None:
        return next((one for one in self.messages if one.message_id == message_id), None)

    def as_json(self) -> Json:
        named = {"first_name": self.title} if self.type == "private" else {"title": self.title}
        shown: Json = {"id": self.id, "type": self.type, **named}
        if self.username:
            shown["username"] = self.username
        if self.is_forum:
            shown["is_forum"] = True
        return shown
