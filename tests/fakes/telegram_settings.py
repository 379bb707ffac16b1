"""What the bot tells the fake Telegram about itself, and what it may ask about chats: commands, texts, members."""

import re
from collections.abc import Callable
from typing import Any

from tests.fakes.telegram_fields import Call
from tests.fakes.telegram_files import Files
from tests.fakes.telegram_messages import Chat, Json, User
from tests.fakes.telegram_world import World, bad

COMMAND = re.compile(r"[a-z0-9_]{1,32}")
LANGUAGE = re.compile(r"|[a-z]{2}")
WIDE_SCOPES = {"default", "all_private_chats", "all_group_chats", "all_chat_administrators"}
CHAT_SCOPES = {"chat", "chat_administrators", "chat_member"}
ABOUT_LIMITS = {"name": 64, "description": 512, "short_description": 120}


class Settings:
    def __init__(self, world: World, files: Files) -> None:
        self._world = world
        self._files = files
        self.commands: dict[tuple[str, str], list[Json]] = {}
        """By scope (`default`, `chat:-100…`, `chat_member:-100…:59…`) and language (empty: every one)."""
        self.about: dict[tuple[str, str], str] = {}
        """By what (`name`, `description`, `short_description`) and language."""
        self.privacy = True
        """On: in groups the bot is told only of commands and of replies to itself."""

    def table(self) -> dict[str, Callable[[Call], Any]]:
        return {
            "getMe": self.get_me,
            "setMyCommands": self.set_commands,
            "getMyCommands": lambda call: self.commands.get(self._key(call), []),
            "deleteMyCommands": lambda call: self.commands.pop(self._key(call), None) is None or True,
            "setMyName": lambda call: self._set_about("name", call),
            "setMyDescription": lambda call: self._set_about("description", call),
            "setMyShortDescription": lambda call: self._set_about("short_description", call),
            "getMyName": lambda call: self._get_about("name", call),
            "getMyDescription": lambda call: self._get_about("description", call),
            "getMyShortDescription": lambda call: self._get_about("short_description", call),
            "setChatMenuButton": lambda _: True,
            "getChatMenuButton": lambda _: {"type": "commands"},
            "getFile": lambda call: self._files.describe(call.text("file_id")),
            "getChat": self.get_chat,
            "getChatMember": self.get_chat_member,
            "getChatMemberCount": lambda call: len(self._world.find_chat(call.chat_id).members) + 1,
            "getChatAdministrators": self.get_chat_administrators,
            "leaveChat": self.leave_chat,
            "logOut": lambda _: True,
            "close": lambda _: True,
        }

    def get_me(self, _: Call) -> Json:
        abilities = {
            "can_join_groups": True,
            "can_read_all_group_messages": not self.privacy,
            "supports_inline_queries": True,
            "can_connect_to_business": False,
            "has_main_web_app": False,
        }
        return self._world.bot.as_json() | abilities

    def set_commands(self, call: Call) -> bool:
        wanted = call.get("commands")
        if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
            raise bad("can't parse commands: expected an Array of BotCommand")
        if len(wanted) > 100:
            raise bad("BOT_COMMANDS_TOO_MUCH")
        for one in wanted:
            if not COMMAND.fullmatch(str(one.get("command", "")).removeprefix("/")):
                raise bad("BOT_COMMAND_INVALID")
            if not 1 <= len(str(one.get("description", ""))) <= 256:
                raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
        self.commands[self._key(call)] = wanted
        return True

    def get_chat(self, call: Call) -> Json:
        chat = self._world.find_chat(call.chat_id)
        whole: Json = {"accent_color_id": 1, "max_reaction_count": 11}
        whole["accepted_gift_types"] = dict.fromkeys(
            ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"), False
        )
        return chat.as_json() | whole

    def get_chat_member(self, call: Call) -> Json:
        chat = self._world.find_chat(call.chat_id)
        user_id = call.needed("user_id")
        if user_id == self._world.bot.id:
            return self.member(self._world.bot, chat.bot_status)
        if user_id not in self._world.users:
            raise bad("PARTICIPANT_ID_INVALID")
        return self.member(self._world.users[user_id], chat.members.get(user_id, "left"))

    def get_chat_administrators(self, call: Call) -> list[Json]:
        chat = self._world.find_chat(call.chat_id)
        if chat.type == "private":
            raise bad("there are no administrators in the private chat")
        leading = {id_: status for id_, status in chat.members.items() if status in {"creator", "administrator"}}
        return [self.member(self._world.users[id_], status) for id_, status in leading.items()]

    def leave_chat(self, call: Call) -> bool:
        self._world.find_chat(call.chat_id).bot_status = "left"
        return True

    def member(self, user: User, status: str) -> Json:
        shown: Json = {"user": user.as_json(), "status": status}
        if status == "creator":
            return shown | {"is_anonymous": False}
        if status == "kicked":
            return shown | {"until_date": 0}
        if status == "administrator":
            rights = (
                "can_be_edited", "is_anonymous", "can_manage_chat", "can_delete_messages", "can_manage_video_chats",
                "can_restrict_members", "can_promote_members", "can_change_info", "can_invite_users",
                "can_post_stories", "can_edit_stories", "can_delete_stories",
            )  # fmt: skip
            return shown | dict.fromkeys(rights, False) | {"can_manage_chat": True, "can_delete_messages": True}
        return shown

    def _key(self, call: Call) -> tuple[str, str]:
        language = call.text("language_code")
        if not LANGUAGE.fullmatch(language):
            raise bad("invalid language code specified")
        scope = call.get("scope") or {"type": "default"}
        kind = scope.get("type") if isinstance(scope, dict) else None
        if kind in WIDE_SCOPES:
            return str(kind), language
        if kind not in CHAT_SCOPES:
            raise bad("can't parse BotCommandScope: unsupported type specified")
        chat: Chat = self._world.find_chat(scope.get("chat_id", ""))
        if kind != "chat_member":
            return f"{kind}:{chat.id}", language
        if scope.get("user_id") not in chat.members:
            raise bad("PARTICIPANT_ID_INVALID")
        return f"{kind}:{chat.id}:{scope['user_id']}", language

    def _set_about(self, what: str, call: Call) -> bool:
        text = call.text(what)
        if len(text) > ABOUT_LIMITS[what]:
            raise bad(f"BOT_{'TITLE' if what == 'name' else 'ABOUT'}_INVALID")
        self.about[what, call.text("language_code")] = text
        return True

    def _get_about(self, what: str, call: Call) -> Json:
        everywhere = self.about.get((what, ""), "")
        return {what: self.about.get((what, call.text("language_code")), everywhere)}
