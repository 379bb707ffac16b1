"""Slash commands made from the table: what a form asks for, what it offers while somebody types, what was filled in."""

from collections.abc import Awaitable, Callable, Mapping
from inspect import Parameter, Signature
from typing import Any, TypeAlias

import discord
from discord import app_commands

from bot.asking.place import Place
from bot.asking.told import read_words
from bot.commands import Command
from bot.discord_bot.addresses import Interaction, place_of
from bot.discord_bot.pictures import attached, picture_field, picture_in
from bot.options import Kind, Option
from bot.suggesting import Choice
from easel.errors import RequestError
from easel.prompt.text import clean

Filled: TypeAlias = Mapping[str, object]
Handler: TypeAlias = Callable[[Interaction, Filled], Awaitable[None]]
Suggest: TypeAlias = Callable[[str, str, Filled, Place], list[Choice]]

CHOICE = 100
"""Characters of a suggestion."""
TYPES: Mapping[Kind, discord.AppCommandOptionType] = {
    "text": discord.AppCommandOptionType.string,
    "integer": discord.AppCommandOptionType.integer,
    "number": discord.AppCommandOptionType.number,
    "switch": discord.AppCommandOptionType.boolean,
    "picture": discord.AppCommandOptionType.attachment,
}


class _Field(app_commands.Transformer[discord.Client]):
    """A field of a form, from its row of the table."""

    def __init__(self, option: Option) -> None:
        self._option = option

    @property
    def type(self) -> discord.AppCommandOptionType:
        return TYPES[self._option.kind]

    @property
    def min_value(self) -> float | None:
        return self._option.low

    @property
    def max_value(self) -> float | None:
        return self._option.high

    async def transform(self, _interaction: Interaction, value: Any, /) -> object:
        return value


class _SuggestingField(_Field):
    def __init__(self, option: Option, suggest: Suggest) -> None:
        super().__init__(option)
        self._suggest = suggest

    async def autocomplete(  # type: ignore[override]
        self, interaction: Interaction, typed: str, /
    ) -> list[app_commands.Choice[str]]:
        try:
            found = self._suggest(
                self._option.name, str(typed), dict(iter(interaction.namespace)), place_of(interaction)
            )
        except RequestError:
            return []
        # A single one too long, and Discord would refuse all.
        return [app_commands.Choice(name=one.label, value=one.value) for one in found if len(one.value) <= CHOICE]


def slash_command(command: Command, handler: Handler, suggest: Suggest) -> app_commands.Command[Any, ..., None]:
    """Return the command as Discord shows it; `suggest` must answer from memory."""

    async def callback(interaction: Interaction, **filled: object) -> None:
        await handler(interaction, {name: value for name, value in filled.items() if value is not None})

    asked = Parameter("interaction", Parameter.POSITIONAL_OR_KEYWORD)
    shown = [option for option in command.options if not option.rare]
    callback.__signature__ = Signature([asked, *(_parameter(option, suggest) for option in shown)])  # type: ignore[attr-defined]
    described = app_commands.describe(**{option.name: option.help for option in shown})(callback)
    return app_commands.Command(name=command.name, description=command.help, callback=described)


def menu_command(command: Command, handler: Handler) -> app_commands.ContextMenu:
    """Return the command as it stands in the menu of a message, whose picture it is about."""

    async def callback(interaction: Interaction, message: discord.Message) -> None:
        picture = picture_in(message)
        await handler(interaction, {} if picture is None else {picture_field(command.options): picture})

    return app_commands.ContextMenu(name=command.menu, callback=callback)


def _parameter(option: Option, suggest: Suggest) -> Parameter:
    return Parameter(
        option.name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if option.required else None,
        annotation=_SuggestingField(option, suggest) if option.suggest else _Field(option),
    )


def read_form(options: tuple[Option, ...], filled: Filled) -> dict[str, object]:
    """Read the fields, and where the first one is words the flags at its end, which a field of their own outweighs.

    Raises BadValue for flags that make no sense.
    """
    given = {name: _plain(value) for name, value in filled.items()}
    if options[0].kind != "text":
        return given
    text = options[0].name
    return {**read_words(str(given.pop(text, "")), options), **given}


def _plain(value: object) -> object:
    if isinstance(value, discord.Attachment):
        return attached(value)
    return clean(value) if isinstance(value, str) else value
