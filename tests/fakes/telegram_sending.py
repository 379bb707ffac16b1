"""What the bot says in the fake Telegram: sendMessage, sendPhoto, sendDocument, sendMediaGroup and chat actions."""

import secrets
from collections.abc import Callable
from typing import Any

from telegram.constants import ChatAction

from tests.fakes.telegram_fields import Call
from tests.fakes.telegram_files import Files
from tests.fakes.telegram_keyboards import inline_markup
from tests.fakes.telegram_messages import Chat, Json, Message, State
from tests.fakes.telegram_text import caption_text, message_text
from tests.fakes.telegram_world import World, bad

ACTIONS = {one.value for one in ChatAction}


def options_of(fields: Json) -> Json:
    """Flags that stand in the JSON of a message with media."""
    shown: Json = {}
    if fields.get("has_spoiler"):
        shown["has_media_spoiler"] = True
    if fields.get("show_caption_above_media"):
        shown["show_caption_above_media"] = True
    return shown


def media_state(files: Files, call: Call, media: Json, markup: Json | None) -> State:
    """The state that an InputMedia describes; only photos and documents are served."""
    caption, entities = caption_text(media)
    kind = media.get("type")
    if kind not in {"photo", "document"}:
        raise bad(f"this server takes no media of type {kind}")
    source = call.file("media", media.get("media"))
    return State(
        caption=caption,
        entities=entities,
        photo=files.photo(source) if kind == "photo" else None,
        document=files.document(source) if kind == "document" else None,
        markup=markup,
        options=options_of(media) if kind == "photo" else {},
    )


class Sending:
    def __init__(self, world: World, files: Files) -> None:
        self._world = world
        self._files = files

    def table(self) -> dict[str, Callable[[Call], Any]]:
        return {
            "sendMessage": self.send_message,
            "sendPhoto": self.send_photo,
            "sendDocument": self.send_document,
            "sendMediaGroup": self.send_media_group,
            "sendChatAction": self.send_chat_action,
        }

    def send_message(self, call: Call) -> Json:
        text, entities = message_text(call.text("text"), call.text("parse_mode"), call.get("entities"))
        chat = self._chat(call, "text")
        state = State(text=text, entities=entities, markup=inline_markup(call.get("reply_markup")))
        return self._place(call, chat, state).as_json()

    def send_photo(self, call: Call) -> Json:
        return self._send_media(call, "photo")

    def send_document(self, call: Call) -> Json:
        return self._send_media(call, "document")

    def _send_media(self, call: Call, kind: str) -> Json:
        chat = self._chat(call, kind)
        source = call.file(kind)
        caption, entities = caption_text(call.fields)
        state = State(
            caption=caption,
            entities=entities,
            photo=self._files.photo(source) if kind == "photo" else None,
            document=self._files.document(source) if kind == "document" else None,
            markup=inline_markup(call.get("reply_markup")),
            options=options_of(call.fields),
        )
        return self._place(call, chat, state).as_json()

    def send_media_group(self, call: Call) -> list[Json]:
        media = call.get("media")
        if not isinstance(media, list) or not 2 <= len(media) <= 10:
            raise bad("Wrong number of items specified: an album has 2 to 10")
        kinds = {str(one.get("type")) for one in media}
        if len(kinds) != 1:
            raise bad("Document can't be mixed with other media types")
        chat = self._chat(call, kinds.pop())
        # All files are read before the first is shown: an album appears whole or not at all.
        states = [media_state(self._files, call, one, None) for one in media]
        album = {"media_group_id": str(13_000_000_000_000_000 + secrets.randbelow(10**12))}
        return [self._place(call, chat, state, album).as_json() for state in states]

    def send_chat_action(self, call: Call) -> bool:
        action = call.text("action")
        if action not in ACTIONS:
            raise bad("wrong parameter action in request")
        thread = call.integer("message_thread_id")
        chat = self._world.find_chat(call.chat_id)
        if thread not in {None, 1, *chat.topics}:
            raise bad("message thread not found")
        chat.actions.append(action)
        return True

    def _chat(self, call: Call, kind: str) -> Chat:
        return self._world.writable(call.chat_id, call.integer("message_thread_id"), kind)

    def _place(self, call: Call, chat: Chat, state: State, extra: Json | None = None) -> Message:
        reply_to = self._replied(call, chat)
        in_channel = chat.type == "channel"
        return self._world.place(
            chat,
            state,
            sender=None if in_channel else self._world.bot,
            sender_chat=chat if in_channel else None,
            thread=call.integer("message_thread_id") or (reply_to.thread if reply_to and chat.is_forum else None),
            reply_to=reply_to,
            extra=extra or {},
            request=call.fields,
        )

    def _replied(self, call: Call, chat: Chat) -> Message | None:
        wanted = call.get("reply_parameters")
        if not wanted:
            return None
        if not isinstance(wanted, dict) or "message_id" not in wanted:
            raise bad("can't parse reply parameters JSON object")
        there = self._world.find_chat(wanted["chat_id"]) if wanted.get("chat_id") else chat
        found = there.find(int(wanted["message_id"]))
        if found is None and not wanted.get("allow_sending_without_reply"):
            raise bad("message to be replied not found")
        if found and str(wanted.get("quote", "")) not in found.words:
            raise bad("QUOTE_TEXT_INVALID")
        return found
