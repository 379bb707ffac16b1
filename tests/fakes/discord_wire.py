"""A client that sends the fake Discord what it is told, word for word."""

import json
from typing import Any

import aiohttp

from tests.fakes.discord_interaction import Interaction
from tests.fakes.discord_server import FakeDiscord


class Wire:
    """A client that sends what it is told."""

    def __init__(self, discord: FakeDiscord, session: aiohttp.ClientSession) -> None:
        self.discord = discord
        self.session = session
        self.token = discord.token

    async def send(
        self, method: str, path: str, body: Any = None, *, files: dict[str, bytes] | None = None, bot: bool = True
    ) -> tuple[int, Any]:
        data: Any = None if body is None else json.dumps(body)
        headers = {"User-Agent": "DiscordBot (https://example.org, 1)"}
        if bot:
            headers["Authorization"] = f"Bot {self.token}"
        if files is None:
            headers |= {} if body is None else {"Content-Type": "application/json"}
        else:
            data = aiohttp.FormData(quote_fields=False)
            data.add_field("payload_json", json.dumps(body), content_type="application/json")
            for index, (name, content) in enumerate(files.items()):
                data.add_field(f"files[{index}]", content, filename=name, content_type="image/png")
        url = f"{self.discord.api_base}{path}"
        async with self.session.request(method, url, data=data, headers=headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    async def post(self, body: Any, *, files: dict[str, bytes] | None = None) -> tuple[int, Any]:
        return await self.send("POST", f"/channels/{self.discord.general.id}/messages", body, files=files)

    async def acknowledge(self, interaction: Interaction, kind: int = 5, data: Any = None) -> tuple[int, Any]:
        body = {"type": kind} | ({} if data is None else {"data": data})
        return await self.send("POST", f"/interactions/{interaction.id}/{interaction.token}/callback", body, bot=False)

    async def hook(
        self, method: str, interaction: Interaction, rest: str = "/messages/@original", body: Any = None, **more: Any
    ) -> tuple[int, Any]:
        path = f"/webhooks/{self.discord.application_id}/{interaction.token}{rest}"
        return await self.send(method, path, body, bot=False, **more)
