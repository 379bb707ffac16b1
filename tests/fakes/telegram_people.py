"""People acting in the fake Telegram: they write, press buttons, edit, forward, kick the bot and upgrade groups."""

from dataclasses import replace
from typing import Any

from tests.fakes.telegram_fields import Upload
from tests.fakes.telegram_files import Files
from tests.fakes.telegram_messages import Chat, Json, Message, State, User
from tests.fakes.telegram_queries import Queries, Query
from tests.fakes.telegram_settings import Settings
from tests.fakes.telegram_text import entities_of
from tests.fakes.telegram_updates import Mailbox
from tests.fakes.telegram_world import ANONYMOUS_ADMIN, CHANNEL_BOT, World


class People:
    """Every message is stored; whether the bot is told of it follows the privacy mode and `allowed_updates`."""

    def __init__(self, bot: User) -> None:
        self.world = World(bot)
        self.files = Files()
        self.queries = Queries()
        self.mailbox = Mailbox()
        self.settings = Settings(self.world, self.files)
        self.alice, self.bob = self.world.alice, self.world.bob
        self.private = self.world.chats[self.alice.id]
        self.group, self.supergroup = self.world.group, self.world.supergroup
        self.forum, self.channel = self.world.forum, self.world.channel

    def chat(self, which: int | str | User | Chat) -> Chat:
        """A chat by id, title, `@name`, person or itself; a new person is met by `world.meet`."""
        if isinstance(which, Chat):
            return which
        if isinstance(which, str):
            return next(one for one in self.world.chats.values() if which in {one.title, f"@{one.username}"})
        return self.world.chats[which.id if isinstance(which, User) else which]

    async def send(
        self,
        text: str = "",
        *,
        chat: int | str | User | Chat | None = None,
        user: User | None = None,
        thread: int | None = None,
        photo: bytes | None = None,
        document: Upload | None = None,
        reply_to: Message | None = None,
        **extra: Any,
    ) -> Message:
        """Write as `user` (Alice) into `chat` (the private one); with a photo or document, `text` is its caption.

        `extra` are further fields of the message's JSON, such as `via_bot` or `media_group_id`.
        """
        user = user or self.alice
        there = self.chat(chat or user)
        entities = entities_of(text)
        shown: Json = {"caption" if photo or document else "text": text or None}
        state = State(
            **shown,
            entities=entities,
            photo=self.files.new_photo(photo) if photo else None,
            document=self.files.new_document(document.content, document.name) if document else None,
        )
        return self._say(there, state, sender=user, thread=thread, reply_to=reply_to, extra=extra)

    async def send_album(
        self, photos: list[bytes], text: str = "", *, chat: Chat | None = None, user: User | None = None
    ) -> list[Message]:
        """One message for each photo, the caption under the first."""
        album = f"13{id(photos):017d}"
        return [
            await self.send(text if n == 0 else "", chat=chat, user=user, photo=photo, media_group_id=album)
            for n, photo in enumerate(photos)
        ]

    async def forward(
        self, text: str, *, chat: Chat | None = None, user: User | None = None, origin: User | None = None
    ) -> Message:
        """Alice passes on what `origin` (Bob) wrote."""
        origin = origin or self.bob
        told: Json = {"type": "user", "date": 1_700_000_000, "sender_user": origin.as_json()}
        return await self.send(text, chat=chat, user=user, forward_origin=told)

    async def send_as_anonymous_admin(self, text: str, chat: Chat | None = None) -> Message:
        return await self.send_as_chat(text, chat or self.supergroup, chat or self.supergroup)

    async def send_as_chat(self, text: str, chat: Chat, sender: Chat) -> Message:
        """Write in the name of the group itself (an anonymous administrator) or of a channel."""
        anonymous = User(ANONYMOUS_ADMIN, "Group", "GroupAnonymousBot", is_bot=True)
        by_channel = User(CHANNEL_BOT, "Channel", "Channel_Bot", is_bot=True)
        state = State(text=text, entities=entities_of(text))
        return self._say(chat, state, sender=anonymous if sender is chat else by_channel, sender_chat=sender)

    async def post(self, text: str, channel: Chat | None = None) -> Message:
        """A channel post: it has no `from`."""
        channel = channel or self.channel
        return self._say(channel, State(text=text, entities=entities_of(text)), sender_chat=channel)

    async def edit(self, message: Message, text: str) -> Message:
        """A person changes their own text or caption."""
        named: Json = {"text": text} if message.text is not None else {"caption": text}
        message.become(replace(message.state, **named, entities=entities_of(text)))
        kind = "edited_channel_post" if message.chat.type == "channel" else "edited_message"
        self._tell(message, kind)
        return message

    async def click(self, message: Message, label: str, user: User | None = None) -> Query:
        """Press the button with this label, as it stands under the message now."""
        for row in message.keyboard:
            for button in row:
                if button["text"] == label:
                    return await self.press(message, button["callback_data"], user)
        raise AssertionError(f"no button {label!r} under message {message.message_id}; there are {message.labels}")

    async def press(self, message: Message, data: str, user: User | None = None) -> Query:
        """Send any callback data for the message: a button of an earlier state, or one that was tampered with."""
        query = self.queries.ask(user or self.alice, data)
        told = {"id": query.id, "from": query.user.as_json(), "chat_instance": str(-message.chat.id), "data": data}
        gone = {"chat": message.chat.as_json(), "message_id": message.message_id, "date": 0}
        shown = gone if message.deleted else message.as_json()
        query.update_id = self.mailbox.put("callback_query", told | {"message": shown})
        return query

    async def ask_inline(self, text: str, user: User | None = None) -> Query:
        query = self.queries.ask(user or self.alice, text)
        told = {"id": query.id, "from": query.user.as_json(), "query": text, "offset": "", "chat_type": "sender"}
        query.update_id = self.mailbox.put("inline_query", told)
        return query

    async def resend(self, thing: Message | Query) -> None:
        """Deliver the last update about it again, under the same update id."""
        if thing.update_id is None:
            raise AssertionError("the bot was never told of it, so there is nothing to repeat")
        self.mailbox.repeat(thing.update_id)

    async def kick_bot(self, chat: Chat, user: User | None = None) -> None:
        """Remove the bot from a group; in a private chat: block it."""
        self._bot_becomes(chat, "kicked", user or self.alice)

    async def let_bot_in(self, chat: Chat, user: User | None = None, status: str = "member") -> None:
        self._bot_becomes(chat, status, user or self.alice)

    async def upgrade(self, group: Chat) -> Chat:
        """Turn a group into a supergroup with another id, and tell the bot so in both."""
        fresh = self.world.open(Chat(-1_000_000_000_000 + group.id, "supergroup", group.title))
        fresh.members |= group.members
        notice = self._say(group, State(), sender=self.alice, extra={"migrate_to_chat_id": fresh.id})
        self._say(fresh, State(), sender=notice.sender, extra={"migrate_from_chat_id": group.id})
        group.migrated_to = fresh.id
        return fresh

    def _say(self, chat: Chat, state: State, **more: Any) -> Message:
        reply_to: Message | None = more.get("reply_to")
        if reply_to and not more.get("thread") and chat.type == "supergroup":
            # Outside forums the thread of a reply is the message its chain began with; it is no topic.
            more["thread"] = reply_to.thread or (None if chat.is_forum else reply_to.message_id)
        if chat.is_forum and more.get("thread") and not reply_to:
            more["extra"] = (more.get("extra") or {}) | {"reply_to_message": self._topic_start(chat, more["thread"])}
        message = self.world.place(chat, state, **more)
        self._tell(message, "channel_post" if chat.type == "channel" else "message")
        return message

    def _topic_start(self, chat: Chat, thread: int) -> Json:
        """The notice that opened a topic: every message there that replies to nothing is shown as a reply to it."""
        if thread not in chat.topics:
            raise AssertionError(f"{chat.title} has no topic {thread}; messages in General carry no thread")
        created = {"name": chat.topics[thread], "icon_color": 7322096}
        shown: Json = {
            "message_id": thread,
            "message_thread_id": thread,
            "is_topic_message": True,
            "date": 1_700_000_000,
        }
        return shown | {"chat": chat.as_json(), "from": self.alice.as_json(), "forum_topic_created": created}

    def _tell(self, message: Message, kind: str) -> None:
        if self._reaches_bot(message):
            message.update_id = self.mailbox.put(kind, message.as_json())

    def _reaches_bot(self, message: Message) -> bool:
        chat = message.chat
        if chat.bot_status in {"kicked", "left"}:
            return False
        if chat.type in {"private", "channel"} or chat.bot_status == "administrator" or not self.settings.privacy:
            return True
        if message.reply_to and message.reply_to.sender == self.world.bot:
            return True
        service = {"migrate_to_chat_id", "migrate_from_chat_id"} & message.extra.keys()
        return bool(service) or self._is_command(message.words)

    def _is_command(self, words: str) -> bool:
        """A command for this bot or for whichever bot there is."""
        first = (words.split() or [""])[0].lower()
        name, _, addressee = first.partition("@")
        return name.startswith("/") and len(name) > 1 and addressee in {"", str(self.world.bot.username).lower()}

    def _bot_becomes(self, chat: Chat, status: str, user: User) -> None:
        before, chat.bot_status = chat.bot_status, status
        told = {"chat": chat.as_json(), "from": user.as_json(), "date": 1_700_000_000}
        bot = self.world.bot
        shown = {
            "old_chat_member": self.settings.member(bot, before),
            "new_chat_member": self.settings.member(bot, status),
        }
        self.mailbox.put("my_chat_member", told | shown)
