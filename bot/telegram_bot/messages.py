"""What a Telegram message asks for: who asked, where the answer goes, and the words after the command as a form."""

from telegram import Chat, Message, User
from telegram.ext import filters

from bot.asking.place import Place
from bot.asking.told import parted, read_words
from bot.flags import parse
from bot.options import IMAGINE
from easel.jobs import Asker, TelegramAddress
from easel.prompt.text import clean

TEXT, SECOND_LINE = IMAGINE[:2]
"""What the words themselves are, and what the second of exactly two lines is: the table begins with these."""


class _WrittenHere(filters.MessageFilter):
    """Somebody wrote it for this chat: it is neither passed on from elsewhere nor another bot's."""

    def filter(self, message: Message) -> bool:
        # Who writes in the name of a group or a channel is shown as one of Telegram's own bots.
        by_bot = message.sender_chat is None and message.from_user is not None and message.from_user.is_bot
        return message.forward_origin is None and not by_bot


class _Captioned(filters.MessageFilter):
    """Its caption begins with a command for this bot; python-telegram-bot looks for commands in texts alone."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def filter(self, message: Message) -> bool:
        entity = next(iter(message.caption_entities), None)
        if entity is None or entity.offset or entity.type != entity.BOT_COMMAND:
            return False
        name, _, addressee = (message.caption or "")[1 : entity.length].lower().partition("@")
        return name == self._command and addressee in {"", message.get_bot().username.lower()}


def captioned(command: str) -> filters.BaseFilter:
    """Return the filter for pictures under which a command stands."""
    return asks() & _Captioned(command)


def asks() -> filters.BaseFilter:
    """Return the filter for messages that may ask for something: new, written here; not edits, not channel posts."""
    return filters.UpdateType.MESSAGE & _WrittenHere()


def asker(sender: User | Chat) -> Asker:
    """Name who asks by id; names can be chosen freely and are for show."""
    name = sender.full_name if isinstance(sender, User) else sender.effective_name
    return Asker(network="telegram", id=str(sender.id), name=clean(name or ""))


def asker_of(message: Message) -> Asker:
    """Name who wrote: for an anonymous administrator that is the chat, since Telegram shows one user for all of them."""
    sender = message.sender_chat or message.from_user
    assert sender is not None
    return asker(sender)


def address_of(message: Message) -> TelegramAddress:
    """Return where a reply goes: the same chat and topic."""
    return TelegramAddress(
        chat_id=message.chat_id,
        # A chain of replies has a thread id too, but only a topic can be written into.
        thread_id=message.message_thread_id if message.is_topic_message else None,
        reply_to=message.message_id,
    )


def place_of(chat: Chat) -> Place:
    """Return where it happens; Telegram knows neither roles nor which chats are for adults."""
    return Place("telegram", frozenset({str(chat.id)}))


def after_command(message: Message) -> str:
    """Return the words behind `/command`, valid Unicode."""
    text = message.text or message.caption or ""
    entities = message.entities or message.caption_entities
    command = entities[0].length if entities else 0
    return clean(text[command:]).strip()


def read_form(text: str) -> dict[str, str]:
    """Read words, flags, and of exactly two lines the second; raises BadValue for flags that can not be read.

    The lines of a pasted infotext have a meaning of their own.
    """
    form = read_words(text, IMAGINE)
    lines = text.split("\n")
    if len(lines) != 2 or SECOND_LINE.name in form or parted(text):
        return form
    # The space lets a flag of one letter begin the line.
    first, second = parse(lines[0], IMAGINE), parse(f" {lines[1]}", IMAGINE)
    if words := second.pop(TEXT.name):
        second[SECOND_LINE.name] = words
    return first | second
