"""Tells Discord which commands there are, only when they are not the ones it knows, and where to invite the bot."""

import logging
from typing import Any

import discord
from discord import app_commands

log = logging.getLogger(__name__)

ADDED_BY_DISCORD = frozenset({"id", "application_id", "version", "dm_permission", "default_permission"})


def invite_url(application_id: int) -> str:
    """Return the link that adds the bot to a server with no more rights than it needs."""
    needed = discord.Permissions(
        view_channel=True,
        send_messages=True,
        send_messages_in_threads=True,
        attach_files=True,
        embed_links=True,
        read_message_history=True,
    )
    return discord.utils.oauth_url(application_id, permissions=needed, scopes=("bot", "applications.commands"))


async def publish(tree: app_commands.CommandTree[Any]) -> None:
    """Make Discord know the commands of `tree`; raises HTTPException."""
    client = tree.client
    assert client.application_id is not None
    known = await client.http.get_global_commands(client.application_id)
    wanted = [command.to_dict(tree) for command in tree.get_commands()]
    if _by_name(known) == _by_name(wanted):
        log.info("Discord knows the commands already")
        return
    await tree.sync()
    log.info("Discord was told the commands")


def _by_name(commands: Any) -> dict[tuple[int, str], Any]:
    return {(command.get("type", 1), command["name"]): _bare(command) for command in commands}


def _bare(value: Any) -> Any:
    """Leave out what Discord adds and what says nothing, in which the two sides differ."""
    if isinstance(value, dict):
        parts = {name: _bare(part) for name, part in value.items() if name not in ADDED_BY_DISCORD}
        return {
            name: part
            for name, part in parts.items()
            if part is not None and part is not False and part not in ("", [])
        }
    if isinstance(value, list):
        bare = [_bare(part) for part in value]
        return sorted(bare) if all(isinstance(part, int) for part in bare) else bare
    return value
