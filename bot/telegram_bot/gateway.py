"""The Telegram door itself: which handler gets what, and its life from the first call to the last."""

import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from telegram import Update
from telegram.ext import ApplicationBuilder, CallbackQueryHandler, CommandHandler, ContextTypes, MessageHandler

from bot.commands import COMMANDS, Commands, job_id_for
from bot.telegram_bot import asking, browsing
from bot.telegram_bot.about import help_text, publish_menu
from bot.telegram_bot.buttons import Buttons, answer, press_id
from bot.telegram_bot.messages import address_of, asks, captioned
from bot.telegram_bot.polling import App, insist, poll
from bot.telegram_bot.replies import tell
from easel.errors import SettingsError
from easel.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Updates in hand; one that waits for Redis or Telegram does not hold up the others."""
SORRY = "Something went wrong on my side. Please try again."

Handler = Callable[[Update, ContextTypes.DEFAULT_TYPE], Coroutine[Any, Any, None]]


class Door:
    """What each command does here; the rest is in `bot/commands.py`."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def handlers(self) -> Mapping[str, Handler]:
        """Return the commands of the table, and the one Telegram begins every chat with."""
        ours: Mapping[str, Handler] = {
            "imagine": self.imagine,
            "show": self.show,
            "models": self.models,
            "help": self.help,
        }
        return {command.name: ours[command.name] for command in COMMANDS} | {"start": self.help}

    async def imagine(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        assert update.message is not None
        await asking.imagine(update.message, self._commands)

    async def show(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        assert update.message is not None
        await asking.show(update.message, self._commands)

    async def models(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        assert update.message is not None
        await browsing.browse(update.message, self._commands)

    async def help(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        message = update.message
        assert message is not None
        await tell(message.get_bot(), address_of(message), help_text())


async def on_error(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
    """Log what nobody expected, and let nobody wait for an answer."""
    query = update.callback_query if isinstance(update, Update) else None
    message = update.message if isinstance(update, Update) else None
    job_id = ""
    if query is not None:
        job_id = press_id(query)
    elif message is not None:
        job_id = job_id_for("telegram", message.chat_id, message.message_id)
    log.error("an update failed", exc_info=context.error, extra={"job": job_id})
    if query is not None:
        await answer(query, SORRY)
    elif message is not None:
        await tell(message.get_bot(), address_of(message), SORRY)


def _application(settings: Settings, commands: Commands) -> App:
    if settings.telegram_token is None:
        raise SettingsError("TELEGRAM_TOKEN is not set.")
    # Told nothing, python-telegram-bot 22 warns wherever Telegram asks it to wait.
    os.environ.setdefault("PTB_TIMEDELTA", "1")
    app = (
        ApplicationBuilder()
        .token(settings.telegram_token.get_secret_value())
        .base_url(settings.telegram_api_base)
        .base_file_url(settings.telegram_file_base)
        .concurrent_updates(AT_ONCE)
        .updater(None)
        .job_queue(None)
        .build()
    )
    for name, handler in Door(commands).handlers().items():
        app.add_handler(CommandHandler(name, handler, filters=asks()))
        app.add_handler(MessageHandler(captioned(name), handler))
    app.add_handler(CallbackQueryHandler(Buttons(commands).pressed))
    app.add_error_handler(on_error)
    return app


async def run(settings: Settings, commands: Commands) -> None:
    """Serve Telegram until cancelled, then finish what is in hand; raises SettingsError when the token is refused."""
    app = _application(settings, commands)
    try:
        await insist(app.bot.initialize)
        # A webhook of an earlier life would keep the updates from us.
        await insist(app.bot.delete_webhook)
        async with app:
            await app.start()
            app.create_task(publish_menu(app.bot))
            try:
                await poll(app)
            finally:
                await app.stop()
    finally:
        await app.bot.shutdown()
