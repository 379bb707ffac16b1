"""Who asked on Discord, where the answer goes, and what may be done there."""

from typing import TypeAlias

import discord

from bot.asking.place import Place
from easel.jobs import Asker, DiscordAddress
from easel.prompt.text import clean

Interaction: TypeAlias = discord.Interaction[discord.Client]


def asker_of(interaction: Interaction) -> Asker:
    """Name who asked by id; names can be chosen freely and are for show."""
    user = interaction.user
    return Asker(network="discord", id=str(user.id), name=clean(user.display_name))


def address_of(interaction: Interaction) -> DiscordAddress:
    return DiscordAddress(
        application_id=str(interaction.application_id),
        interaction_token=interaction.token,
        created_at=interaction.created_at.timestamp(),
        channel_id=str(interaction.channel_id),
        guild_id=None if interaction.guild_id is None else str(interaction.guild_id),
        bot_in_channel=_bot_may_post(interaction),
        file_limit=interaction.filesize_limit,
    )


def place_of(interaction: Interaction) -> Place:
    """Return where it happens and with which roles, for the models that are kept for some."""
    channel = interaction.channel
    ids = {interaction.channel_id, interaction.guild_id, getattr(channel, "parent_id", None)} - {None}
    roles = interaction.user.roles if isinstance(interaction.user, discord.Member) else []
    aged = isinstance(channel, discord.abc.GuildChannel | discord.Thread) and _is_for_adults(channel)
    return Place("discord", frozenset(map(str, ids)), frozenset(str(role.id) for role in roles), nsfw=aged)


def _is_for_adults(channel: object) -> bool:
    # A thread has no mark of its own; its channel's is only known where the guild is.
    tell = getattr(channel, "is_nsfw", None)
    return bool(tell is not None and tell())


def _bot_may_post(interaction: Interaction) -> bool:
    """Say whether the bot's own token reaches the channel; elsewhere only the interaction's does, for a while."""
    if interaction.guild_id is None:
        # People may use a bot they installed for themselves in their direct messages with each other.
        return bool(interaction.context.dm_channel)
    threaded = isinstance(interaction.channel, discord.Thread)
    needed = discord.Permissions(
        view_channel=True, attach_files=True, send_messages=not threaded, send_messages_in_threads=threaded
    )
    return interaction.is_guild_integration() and needed <= interaction.app_permissions


def moderates(interaction: Interaction) -> bool:
    """Say whether they may delete others' messages there; Discord tells with every press."""
    return interaction.guild_id is not None and interaction.permissions.manage_messages
