"""What the fake Telegram remembers: who is there, which chats they have, what the bot may reach in them."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.fakes.telegram_messages import Chat, Json, Message, State, User

ANONYMOUS_ADMIN = 1087968824
"""GroupAnonymousBot: the `from` of every administrator who posts in the name of the group."""
CHANNEL_BOT = 136817688
"""Channel_Bot: the `from` of everybody who posts in a group in the name of a channel."""


class ApiError(Exception):
    """An answer with `ok: false`; `code` 0 cuts the connection instead."""

    def __init__(self, code: int, description: str, parameters: Json | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


def bad(description: str) -> ApiError:
    return ApiError(400, f"Bad Request: {description}")


class World:
    """Two people and one chat of each kind; ids are beyond 32 bits, as real ones are."""

    def __init__(self, bot: User) -> None:
        self.bot = bot
        self.users: dict[int, User] = {}
        self.chats: dict[int, Chat] = {}
        self._account_ids = itertools.count(101)
        self._ids: dict[int, Iterator[int]] = {}
        self.alice = self.meet(User(5_912_345_678, "Alice", "alice_paints"))
        self.bob = self.meet(User(6_023_456_789, "Bob <&>", None, "de"))
        self.group = self.open(Chat(-4_012_345_678, "group", "Old group"))
        self.supergroup = self.open(Chat(-1_001_234_567_890, "supergroup", "Painters", "painters_chat"))
        self.forum = self.open(Chat(-1_002_345_678_901, "supergroup", "Forum", is_forum=True))
        self.forum.topics = {77: "Cats", 78: "Dogs"}
        self.channel = self.open(Chat(-1_003_456_789_012, "channel", "Gallery", bot_status="administrator"))

    def meet(self, user: User) -> User:
        self.users[user.id] = user
        self.chats[user.id] = Chat(user.id, "private", user.first_name, user.username, members={user.id: "member"})
        return user

    def open(self, chat: Chat) -> Chat:
        self.chats[chat.id] = chat
        chat.members |= {self.alice.id: "creator", self.bob.id: "member"}
        return chat

    def number(self, chat: Chat) -> int:
        """Supergroups and channels count for themselves: one message id stands for a message in each of them."""
        if chat.type in {"private", "group"}:
            return next(self._account_ids)
        return next(self._ids.setdefault(chat.id, itertools.count(101)))

    def place(self, chat: Chat, state: State, **more: Any) -> Message:
        message = Message(self.number(chat), chat, [replace(state, at=time.monotonic())], **more)
        chat.everything.append(message)
        return message

    def find_chat(self, chat_id: int | str) -> Chat:
        """The chat as the bot may read it; 400 or 403 as the real API says it."""
        chat = next((one for one in self.chats.values() if chat_id in {one.id, f"@{one.username}"}), None)
        if chat is None:
            raise bad("chat not found")
        if chat.migrated_to:
            moved = {"migrate_to_chat_id": chat.migrated_to}
            raise ApiError(400, "Bad Request: group chat was upgraded to a supergroup chat", moved)
        if chat.bot_status == "kicked":
            private = chat.type == "private"
            raise ApiError(
                403, f"Forbidden: bot was {'blocked by the user' if private else f'kicked from the {chat.type} chat'}"
            )
        if chat.bot_status == "left":
            raise ApiError(403, f"Forbidden: bot is not a member of the {chat.type} chat")
        return chat

    def writable(self, chat_id: int | str, thread: int | None, kind: str) -> Chat:
        chat = self.find_chat(chat_id)
        if chat.type == "channel" and chat.bot_status != "administrator":
            raise bad("need administrator rights in the channel chat")
        if kind in chat.forbidden:
            named = "text messages" if kind == "text" else f"{kind}s"
            raise bad(f"not enough rights to send {named} to the chat")
        # Only topics are threads to post into: the thread of a chain of replies, and General's 1, are refused.
        if thread is not None and thread not in chat.topics:
            raise bad("message thread not found")
        if thread in chat.closed_topics:
            raise bad("TOPIC_CLOSED")
        return chat

    def find_message(self, chat_id: int | str, message_id: int, purpose: str) -> Message:
        """`purpose` ends the sentence of the refusal: `message to {purpose} not found`."""
        message = self.find_chat(chat_id).find(message_id)
        if message is None:
            raise bad(f"message to {purpose} not found")
        return message
