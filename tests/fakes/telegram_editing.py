"""What the bot changes in the fake Telegram: edits, deletions, reactions."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from telegram.constants import ReactionEmoji

from tests.fakes.telegram_fields import Call
from tests.fakes.telegram_files import Files
from tests.fakes.telegram_keyboards import edited_markup
from tests.fakes.telegram_messages import Chat, Json, Message, State
from tests.fakes.telegram_sending import media_state
from tests.fakes.telegram_text import caption_text, message_text
from tests.fakes.telegram_world import World, bad

DELETABLE_S = 48 * 3600
EMOJI = {one.value for one in ReactionEmoji}
SAME = (
    "message is not modified: specified new message content and reply markup are exactly the same"
    " as a current content and reply markup of the message"
)


class Editing:
    def __init__(self, world: World, files: Files) -> None:
        self._world = world
        self._files = files

    def table(self) -> dict[str, Callable[[Call], Any]]:
        return {
            "editMessageText": self.edit_text,
            "editMessageCaption": self.edit_caption,
            "editMessageMedia": self.edit_media,
            "editMessageReplyMarkup": self.edit_reply_markup,
            "deleteMessage": self.delete_message,
            "deleteMessages": self.delete_messages,
            "setMessageReaction": self.set_reaction,
        }

    def edit_text(self, call: Call) -> Json:
        text, entities = message_text(call.text("text"), call.text("parse_mode"), call.get("entities"))
        message = self._own(call)
        if message.kind != "text":
            raise bad("there is no text in the message to edit")
        return self._become(message, State(text=text, entities=entities, markup=self._markup(call)))

    def edit_caption(self, call: Call) -> Json:
        caption, entities = caption_text(call.fields)
        message = self._own(call)
        if message.kind == "text":
            raise bad("there is no caption in the message to edit")
        changed = replace(message.state, caption=caption, entities=entities, markup=self._markup(call))
        return self._become(message, changed)

    def edit_media(self, call: Call) -> Json:
        message = self._own(call)
        media = call.get("media")
        if not isinstance(media, dict):
            raise bad("can't parse media JSON object")
        if "media_group_id" in message.extra and media.get("type") != message.kind:
            raise bad("message content type can't be changed in an album")
        return self._become(message, media_state(self._files, call, media, self._markup(call)))

    def edit_reply_markup(self, call: Call) -> Json:
        message = self._own(call)
        return self._become(message, replace(message.state, markup=self._markup(call)))

    def delete_message(self, call: Call) -> bool:
        message = self._world.find_message(call.chat_id, call.needed("message_id"), "delete")
        self._delete(message)
        return True

    def delete_messages(self, call: Call) -> bool:
        chat = self._world.find_chat(call.chat_id)
        wanted = call.get("message_ids")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= 100:
            raise bad("message identifiers are not specified")
        # Those that can not be found are skipped, as in the real API.
        for message in [found for one in wanted if (found := chat.find(int(one)))]:
            self._delete(message)
        return True

    def set_reaction(self, call: Call) -> bool:
        message = self._world.find_message(call.chat_id, call.needed("message_id"), "react")
        wanted = call.get("reaction") or []
        if len(wanted) > 1:
            raise bad("REACTIONS_TOO_MANY")
        if any(one.get("type") != "emoji" or one.get("emoji") not in EMOJI for one in wanted):
            raise bad("REACTION_INVALID")
        message.reactions = [one["emoji"] for one in wanted]
        return True

    def _own(self, call: Call) -> Message:
        if call.get("inline_message_id"):
            raise bad("MESSAGE_ID_INVALID")
        message = self._world.find_message(call.chat_id, call.needed("message_id"), "edit")
        if not message.request:
            raise bad("message can't be edited")
        return message

    def _markup(self, call: Call) -> Json | None:
        """The keyboard after the edit: an edit that names none takes the old one away."""
        return edited_markup(call.get("reply_markup"))

    def _become(self, message: Message, state: State) -> Json:
        if state == message.state:
            raise bad(SAME)
        message.become(state)
        return message.as_json()

    def _delete(self, message: Message) -> None:
        if time.time() - message.date > DELETABLE_S or not self._may_delete(message, message.chat):
            raise bad("message can't be deleted for everyone")
        message.deleted = True

    def _may_delete(self, message: Message, chat: Chat) -> bool:
        return bool(message.request) or chat.type == "private" or chat.bot_status == "administrator"
