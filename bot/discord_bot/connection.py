"""The line to Discord: where it leads, how often we introduce ourselves, and calls that outlast its troubles."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.patience import Trouble, keep_asking
from easel.errors import SettingsError
from easel.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

AUTHENTICATION_FAILED = 4004
BETWEEN_INTRODUCTIONS_S, SLOWLY_S, DAY_S = 5.0, 120.0, 24 * 3600.0
QUICK_ONES = 100
_FAULTS = (discord.LoginFailure, discord.ConnectionClosed, discord.HTTPException, aiohttp.ClientError, OSError)


async def configure_discord(settings: Settings) -> None:
    """Point discord.py at the Discord of the settings: class attributes are the only place where it can be told."""
    gateway = settings.discord_gateway
    if gateway is None and settings.discord_api_base != Settings.model_fields["discord_api_base"].default:
        gateway = await _gateway_of(settings.discord_api_base)
    Route.BASE = settings.discord_api_base
    if gateway is not None:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    # Else every start warns that voice is missing.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


async def _gateway_of(base: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/gateway") as response:
        if response.status == 429 or response.status >= 500:
            response.raise_for_status()
        body = await response.json(content_type=None) if response.status == 200 else None
    if not isinstance(body, dict) or not isinstance(body.get("url"), str):
        raise SettingsError(f"DISCORD_API_BASE is `{base}`, but what is there does not answer as Discord does.")
    return str(body["url"])


class Introductions:
    """Spaces them out: Discord takes one in 5 s, and resets the token of a bot that makes 1,000 in a day."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=QUICK_ONES)

    def pause(self, now: float) -> float:
        """Return the seconds to wait before the one that is due `now`, in seconds of any clock."""
        many = len(self._times) == QUICK_ONES and now - self._times[0] < DAY_S
        self._times.append(now)
        return SLOWLY_S if many else BETWEEN_INTRODUCTIONS_S

    async def wait(self, *, first: bool) -> None:
        seconds = self.pause(time.monotonic())
        if not first:
            await asyncio.sleep(seconds)


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat `call` until Discord can be reached; raises SettingsError when it refuses the token."""
    return await keep_asking(call, "Discord", _FAULTS, _sort)


def _sort(error: Exception) -> Trouble:
    if isinstance(error, discord.ConnectionClosed):
        if error.code != AUTHENTICATION_FAILED:
            raise error
        raise _refused() from None
    if isinstance(error, discord.LoginFailure):
        raise _refused() from None
    status = getattr(error, "status", 0)
    if 400 <= status < 500 and status != 429:
        raise error
    return Trouble(f"can not be reached ({status or type(error).__name__})")


def _refused() -> SettingsError:
    # Without its cause, so that the sentence stands alone.
    return SettingsError("Discord refuses DISCORD_TOKEN: copy the token from the Bot page of your application again.")
