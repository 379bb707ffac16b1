"""What the bot says about itself on Telegram: the help and the menu of commands, both from the tables."""

import logging

from telegram import (
    Bot,
    BotCommand,
    BotCommandScopeAllChatAdministrators,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeDefault,
)
from telegram.error import TelegramError

from bot.commands import COMMANDS
from bot.flags import example, usage
from bot.options import IMAGINE
from bot.telegram_bot.messages import SECOND_LINE
from easel import words

log = logging.getLogger(__name__)

# A menu of a narrower scope hides the default one, so a bot that had another life needs all of them replaced.
SCOPES = (
    BotCommandScopeDefault,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllChatAdministrators,
)
DESCRIPTION_LIMIT = 256


def help_text() -> str:
    """Return commands, examples and flags as plain text."""
    asked = f"/{COMMANDS[0].name} a red apple on a table"
    flags = [shown for option in IMAGINE[1:] if not (shown := example(option)).endswith("…")]
    return "\n".join(
        [
            *(f"/{command.name}: {command.help}" for command in COMMANDS),
            "",
            "For example:",
            asked,
            f"{asked} {flags[0]}",
            "",
            f"If you write two lines, the second is --{SECOND_LINE.name}.",
            "",
            "At the end of your words you may put:",
            *usage(IMAGINE),
        ]
    )


async def publish_menu(bot: Bot) -> None:
    """Show the commands in Telegram's menu; without it they work all the same."""
    menu = [BotCommand(command.name, words.cut(command.help, DESCRIPTION_LIMIT)) for command in COMMANDS]
    try:
        for scope in SCOPES:
            await bot.set_my_commands(menu, scope=scope())
    except TelegramError as error:
        log.warning("the menu of commands could not be set: %s", error)
