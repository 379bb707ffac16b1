"""A Discord on loopback for tests: a real client connects to it, and tests act as the people in its channels.

async with FakeDiscord() as discord:
    bot = await start_bot(DISCORD_API_BASE=discord.api_base, DISCORD_GATEWAY=discord.gateway_url)
    interaction = await discord.slash("imagine", {"prompt": "a cat"})
    assert await interaction.acknowledged < 3
    message = await interaction.wait_for(lambda message: bool(message.attachments))
    again = await discord.click(message, "Again")
    assert not discord.violations
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

from tests.fakes.discord_calls import Call, Trouble
from tests.fakes.discord_client import Filling, pressed, selected, submitted, visible_command
from tests.fakes.discord_files import Upload
from tests.fakes.discord_gateway import Gateway
from tests.fakes.discord_http import API, FrontDoor
from tests.fakes.discord_interaction import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL_SUBMIT, Interaction
from tests.fakes.discord_interactions import Desk
from tests.fakes.discord_messages import Draft, Message
from tests.fakes.discord_rest import Routes
from tests.fakes.discord_values import Channel, Json, User
from tests.fakes.discord_world import Posting, World


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What an autocomplete offered, and how long that took from the key press."""

    choices: list[Json]
    elapsed_s: float

    @property
    def names(self) -> list[str]:
        return [choice["name"] for choice in self.choices]

    @property
    def values(self) -> list[Any]:
        return [choice["value"] for choice in self.choices]


class FakeDiscord(World):
    """The server and everybody on it. All methods are coroutines of one event loop, that of the test."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(self)
        self.gateway = Gateway(self)
        self.emit = self.gateway.emit
        self._door = FrontDoor(self, Routes(self, self.desk, lambda: self.gateway_url))
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/{kind:(?:ephemeral-)?attachments}/{rest:.*}", self._door.serve_file)
        app.router.add_route("*", "/{rest:.*}", self._door.serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url = self.shelf.base = f"http://127.0.0.1:{port}"
        self.gateway.url = self.gateway_url
        return self

    async def __aexit__(self, *_: object) -> None:
        self.desk.close()
        await self.gateway.close()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def api_base(self) -> str:
        return f"{self.url}{API}"

    @property
    def gateway_url(self) -> str:
        return f"{self.url.replace('http', 'ws', 1)}/gateway"

    @property
    def requests(self) -> list[Call]:
        return self._door.requests

    @property
    def own_faults(self) -> list[str]:
        return self._door.own_faults

    @property
    def unused_troubles(self) -> list[Trouble]:
        return self._door.troubles.left

    def calls(self, method: str, pattern: str) -> list[Call]:
        """Return the requests so far with this method (`*`: any) and a path in which `pattern` is found."""
        return [call for call in self.requests if method in {"*", call.method} and re.search(pattern, call.path)]

    async def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until a bot is connected to the gateway."""
        await self.bell.until(lambda: self.gateway.ready or None, timeout_s, lambda: "no connected bot")

    async def wait_for_command(self, name: str, timeout_s: float = 30.0) -> Json:
        """Wait until the bot has registered a command."""
        look = lambda: self.commands.named(name, self.guild_id)  # noqa: E731
        return await self.bell.until(look, timeout_s, lambda: str([c["name"] for c in self.commands.all(None)]))

    async def wait_for_call(self, method: str, pattern: str, *, count: int = 1, timeout_s: float = 10.0) -> Call:
        """Return the `count`-th request that fits."""

        def look() -> Call | None:
            fitting = self.calls(method, pattern)
            return fitting[count - 1] if len(fitting) >= count else None

        return await self.bell.until(look, timeout_s, lambda: str([(c.method, c.path) for c in self.requests[-10:]]))

    async def wait_for_message(
        self, wanted: Callable[[Message], bool], *, channel: Channel | None = None, timeout_s: float = 10.0
    ) -> Message:
        """Return the first message that is as wanted, in one channel or in all, however it got there."""

        def look() -> Message | None:
            return next((message for message in self.messages_in(channel) if wanted(message)), None)

        return await self.bell.until(look, timeout_s, lambda: str([m.text for m in self.messages_in(channel)]))

    def messages_in(self, channel: Channel | None = None) -> list[Message]:
        """Return what stands in a channel (by default: in all), oldest first."""
        wanted = None if channel is None else channel.id
        return [m for m in self.messages.values() if not m.deleted and wanted in {None, m.channel_id}]

    async def slash(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        user_id: int | None = None,
        channel: Channel | None = None,
    ) -> Interaction:
        """Use a command (`"queue show"` names a subcommand) as a person; files are given as Upload.

        Without `user_id` it is alice, without `channel` the general one; `dm()` is a private conversation.
        Raises RefusedByClient where the app would not send it.
        """
        user, place = self._seat(user_id, channel)
        root, *path = name.split()
        command = visible_command(self, root, user, place)
        data = Filling(self, place).data(command, path, options or {})
        return self._send(COMMAND, data, user, place)

    async def message_command(self, name: str, message: Message, *, user_id: int | None = None) -> Interaction:
        """Use a command of a message's context menu."""
        user, place = self._seat(user_id, self.channels[message.channel_id])
        command = visible_command(self, name, user, place, kind=3)
        target = {"messages": {str(message.id): message.payload(self.shelf)}}
        data = Filling(self, place).data(command, [], {}) | {"target_id": str(message.id), "resolved": target}
        return self._send(COMMAND, data, user, place)

    async def autocomplete(
        self,
        name: str,
        focused: str,
        typed: str,
        others: Mapping[str, Any] | None = None,
        *,
        user_id: int | None = None,
        channel: Channel | None = None,
    ) -> Suggestions:
        """Type into one option; return what is offered. Raises NotAcknowledged after three seconds."""
        user, place = self._seat(user_id, channel)
        root, *path = name.split()
        command = visible_command(self, root, user, place)
        data = Filling(self, place).data(command, path, {**(others or {}), focused: typed}, focused)
        interaction = self.desk.open(AUTOCOMPLETE, data, user, place)
        interaction.option_type = _focused_type(data["options"])
        self.desk.send(interaction)
        elapsed_s = await interaction.acknowledged
        return Suggestions(interaction.choices, elapsed_s)

    async def click(self, message: Message, button: str, *, user_id: int | None = None) -> Interaction:
        """Press the button with this custom id, label or emoji."""
        user, place = self._seat(user_id or message.visible_to, self.channels[message.channel_id])
        return self._send(COMPONENT, pressed(message, button, user), user, place, source=message)

    async def select(
        self, message: Message, custom_id: str, values: Sequence[str], *, user_id: int | None = None
    ) -> Interaction:
        """Choose from the menu with this custom id."""
        user, place = self._seat(user_id or message.visible_to, self.channels[message.channel_id])
        return self._send(COMPONENT, selected(message, custom_id, list(values), user), user, place, source=message)

    async def modal_submit(self, shown_by: Interaction, values: Mapping[str, Any]) -> Interaction:
        """Fill in the form that an interaction was answered with, and send it; `values` go by custom id or label."""
        data = submitted(await shown_by.wait_for_form(), values)
        interaction = self.desk.open(MODAL_SUBMIT, data, shown_by.user, shown_by.channel)
        interaction.source, interaction.opened_by = shown_by.source, shown_by
        return self.desk.send(interaction)

    async def say(
        self, content: str, *, user_id: int | None = None, channel: Channel | None = None, files: Sequence[Upload] = ()
    ) -> Message:
        """Write a message as a person."""
        user, place = self._seat(user_id, channel)
        return self.post(Draft({"content": content}, dict(enumerate(files)), place.id, "user"), Posting(author=user))

    async def moderate_away(self, message: Message) -> None:
        """A moderator deletes the message."""
        self.delete(message)

    async def drop_gateway(self, code: int | None = None) -> None:
        """Cut the bot's connection; with a code, close it politely. What happens meanwhile waits for a resume."""
        await self.gateway.drop(code)

    async def revoke_token(self) -> None:
        """Somebody resets the bot's token: nothing it does is accepted from now on."""
        self.token = f"{self.token}-revoked"
        await self.gateway.drop(4004)

    def fail_next(
        self,
        method: str,
        pattern: str,
        status: int,
        *,
        json: Any = None,
        headers: dict[str, str] | None = None,
        times: int = 1,
    ) -> None:
        """Answer the next `times` requests so, without doing anything; 429 takes json={"retry_after": seconds}.

        `method` may be `*`; `pattern` is searched in the path after /api/v10. A str as `json` is sent as HTML.
        """
        self._order(method, pattern, times, status=status, body=json, headers=headers or {})

    def lose_reply(self, method: str, pattern: str, *, status: int | None = None, times: int = 1) -> None:
        """Do what the next requests ask, then cut the connection, or answer with this status instead."""
        self._order(method, pattern, times, status=status, work_first=True)

    def cut(self, method: str, pattern: str, *, times: int = 1) -> None:
        """Cut the connection of the next requests before anything is done."""
        self._order(method, pattern, times)

    def delay(self, method: str, pattern: str, seconds: float, *, times: int = 1) -> None:
        """Let the next requests wait, then serve them as usual."""
        self._order(method, pattern, times, delay_s=seconds, only_delay=True)

    def _order(self, method: str, pattern: str, times: int, **about: Any) -> None:
        self._door.troubles.order(Trouble(method, re.compile(pattern), times, **about))

    def _seat(self, user_id: int | None, channel: Channel | None) -> tuple[User, Channel]:
        place = channel or self.general
        if user_id is None and place.recipient is not None:
            return place.recipient, place
        return self.user(self.alice.id if user_id is None else user_id), place

    def _send(self, kind: int, data: Json, user: User, place: Channel, source: Message | None = None) -> Interaction:
        interaction = self.desk.open(kind, data, user, place)
        interaction.source = source
        return self.desk.send(interaction)


def _focused_type(options: Sequence[Json]) -> int:
    for option in options:
        if option.get("focused"):
            return int(option["type"])
        if "options" in option:
            return _focused_type(option["options"])
    raise AssertionError("no option is focused")
