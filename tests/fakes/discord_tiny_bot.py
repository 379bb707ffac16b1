"""A very small discord.py bot: one slash command with autocomplete and a file, one button that survives restarts."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import discord
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.fakes.discord_server import FakeDiscord

MODELS = ["dreamshaper", "realistic", "revanimated"]


class AgainButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"v1:again:(?P<job>\w+)"):
    def __init__(self, job: str) -> None:
        super().__init__(discord.ui.Button(label="Again", custom_id=f"v1:again:{job}"))
        self.job = job

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction, _item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(match["job"])

    async def callback(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"again {self.job}", ephemeral=True)


class EditForm(discord.ui.Modal, title="Edit"):
    prompt: discord.ui.TextInput[Self] = discord.ui.TextInput(label="Prompt", default="a cat", max_length=100)

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"edited: {self.prompt.value}")


class TinyBot(discord.Client):
    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.default(), guild_ready_timeout=0.05)
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(imagine)
        self.tree.add_command(edit)
        self.tree.add_command(secret)
        self.seen: list[Any] = []

    async def setup_hook(self) -> None:
        self.add_dynamic_items(AgainButton)
        await self.tree.sync()


async def suggest(_interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=name, value=name) for name in MODELS if typed in name]


@app_commands.command()
@app_commands.autocomplete(model=suggest)
async def imagine(
    interaction: discord.Interaction,
    prompt: app_commands.Range[str, 1, 1000],
    model: str = "dreamshaper",
    count: app_commands.Range[int, 1, 4] = 1,
    image: discord.Attachment | None = None,
) -> None:
    await interaction.response.defer()
    await interaction.edit_original_response(content="queued", allowed_mentions=discord.AllowedMentions.none())
    size = 0 if image is None else len(await image.read())
    nsfw = getattr(interaction.channel, "is_nsfw", lambda: False)()
    view = discord.ui.View(timeout=None)
    view.add_item(AgainButton("j1"))
    await interaction.edit_original_response(
        content=f"{prompt} {model} {count} {size} nsfw={nsfw}",
        attachments=[discord.File(io.BytesIO(b"picture"), "a cat.png")],
        view=view,
    )


@app_commands.command()
async def edit(interaction: discord.Interaction) -> None:
    await interaction.response.send_modal(EditForm())


@app_commands.command(nsfw=True)
@app_commands.default_permissions(manage_guild=True)
async def secret(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("told", ephemeral=True)


@asynccontextmanager
async def tiny_bot(server: FakeDiscord) -> AsyncIterator[TinyBot]:
    """Run the bot against the server, from its login until it is ready; discord.py's addresses are put back after."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = server.api_base, yarl.URL(server.gateway_url)
    bot = TinyBot()
    running = asyncio.create_task(bot.start(server.token))
    try:
        ready = asyncio.create_task(server.wait_until_ready(10))
        await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            ready.cancel()
            await running
        await bot.wait_until_ready()
        yield bot
    finally:
        await bot.close()
        await asyncio.gather(running, return_exceptions=True)
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before
