"""No token, password or key is found anywhere but in the process it was given to."""

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis

from easel import server
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.product import BOT, DELIVERY, EASEL, Product, Tokens, press_ctrl_c
from tests.fakes.telegram_door import answer_to
from tests.fakes.telegram_server import FakeTelegram

WAIT_S = 90
PASSWORD = "canary-of-redis-0451"
KEY = "canary-of-the-signing-key-0451-0451"
WRONG = {
    "DISCORD_TOKEN": "canary.of-discord.0451",
    "TELEGRAM_TOKEN": "70451:canary-of-telegram-0451",
    "EASEL_KEY": KEY,
}
IMAGINE = (*EASEL, "imagine", "a red apple", "--steps", "1")


def spellings(secret: str) -> set[bytes]:
    """Return how a secret would look in an address, in base64, and with only its secret half."""
    plain = {secret, secret.partition(":")[2] or secret, quote(secret, safe="")}
    return {text.encode() for text in plain} | {base64.b64encode(secret.encode()).rstrip(b"=")}


def holders(secrets: list[str], places: dict[str, bytes]) -> list[str]:
    """Name the places in which any of the secrets stands."""
    wanted = set().union(*map(spellings, secrets))
    return [name for name, content in places.items() if any(one in content for one in wanted)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def in_redis(connection: "Redis") -> dict[str, bytes]:
    """Return everything the server holds, as text of its replies."""
    readers: dict[object, tuple[str, ...]] = {
        b"string": ("GET",),
        b"hash": ("HGETALL",),
        b"list": ("LRANGE", "0", "-1"),
        b"set": ("SMEMBERS",),
        b"zset": ("ZRANGE", "0", "-1"),
        b"stream": ("XRANGE", "-", "+"),
    }
    found = {}
    for key in connection.scan_iter():
        name, *rest = readers[connection.type(key)]
        content = connection.execute_command(name, key, *rest)
        found[f"redis {key!r}"] = key + (content if isinstance(content, bytes) else repr(content).encode())
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="easel-") as name:
        yield Path(name)


@pytest.fixture
def redis_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="easel-") as name:
        yield Path(name)


@pytest.fixture
def redis_with_password(redis_folder: Path) -> Iterator[str]:
    """Lend the address of a server that asks for a password."""
    url = server.ensure(redis_folder)
    with closing(Redis.from_url(url)) as connection:
        connection.config_set("requirepass", PASSWORD)
    known = url.replace("unix://", f"unix://:{PASSWORD}@")
    yield known
    with closing(Redis.from_url(known)) as connection:
        connection.config_set("requirepass", "")
    server.stop(redis_folder)


@pytest.fixture
async def networks() -> AsyncIterator[tuple[FakeDiscord, FakeTelegram]]:
    async with FakeDiscord() as discord, FakeTelegram() as telegram:
        yield discord, telegram


async def test_what_is_asked_on_every_door_leaves_no_secret_behind(
    folder: Path, redis_folder: Path, redis_with_password: str, networks: tuple[FakeDiscord, FakeTelegram]
) -> None:
    discord, telegram = networks
    secrets = [discord.token, telegram.token, PASSWORD, KEY]
    told = {"REDIS_URL": redis_with_password, "EASEL_KEY": KEY, "EASEL_LOG_LEVEL": "DEBUG"}
    with Product(folder, Tokens(discord, telegram), told) as product:
        parts = [product.start(BOT, log="bot.log"), product.start(DELIVERY, log="delivery.log")]
        await discord.wait_until_ready(WAIT_S)
        asked = await discord.slash("imagine", {"prompt": "a red apple", "steps": 1})
        said = await telegram.send("/imagine a red apple --steps 1")
        answer = await answer_to(telegram, said, WAIT_S)
        # It brings a worker along, which paints the other two first.
        at_home = product.start(IMAGINE, log="imagine.log")
        message = await asked.wait_for(lambda one: bool(one.attachments), WAIT_S)
        photo: bytes = await telegram.wait_for(lambda: answer.photo, WAIT_S)
        assert await asyncio.to_thread(at_home.wait, WAIT_S) == 0, product.said("imagine.log")
        with closing(Redis.from_url(redis_with_password)) as connection:
            remembered = in_redis(connection)
        for part in parts:
            press_ctrl_c(part)
            await asyncio.to_thread(part.wait, WAIT_S)

    pictures = {"Discord's picture": message.attachments[0].data, "Telegram's picture": photo}
    messages = {"messages": repr([message.history, answer.history]).encode()}
    places = files(folder) | files(redis_folder) | remembered | pictures | messages
    assert {file.suffix for file in (folder / "out").iterdir()} == {".png"}
    assert all((folder / f"{name}.log").stat().st_size for name in ("bot", "delivery", "imagine"))
    # What is no secret is found in all of them by the same search.
    found = " ".join(holders(["a red apple"], places))
    assert all(place in found for place in ("redis", "appendonly", ".png", "Discord's", "Telegram's", "messages"))
    assert holders(secrets, places) == []


@pytest.mark.parametrize("words", [BOT, DELIVERY, IMAGINE], ids=["bot", "delivery", "imagine"])
async def test_a_wrong_redis_password_is_told_and_not_shown(
    folder: Path, redis_with_password: str, words: tuple[str, ...]
) -> None:
    wrong = "canary-of-no-redis-0451"
    told = WRONG | {"REDIS_URL": redis_with_password.replace(PASSWORD, wrong), "EASEL_LOG_LEVEL": "DEBUG"}
    with Product(folder, changes=told) as product:
        status = await asyncio.to_thread(product.start(words).wait, WAIT_S)

    assert status == 2
    assert product.said().endswith("REDIS_URL names a Redis that refuses its password: correct one of the two.\n")
    assert holders([wrong, *WRONG.values()], files(folder)) == []


@pytest.mark.parametrize("refused", ["DISCORD_TOKEN", "TELEGRAM_TOKEN"])
async def test_a_token_that_is_refused_is_not_shown(
    folder: Path, networks: tuple[FakeDiscord, FakeTelegram], refused: str
) -> None:
    told = {"EASEL_KEY": KEY, "EASEL_LOG_LEVEL": "DEBUG", refused: WRONG[refused]}
    with Product(folder, Tokens(*networks), told) as product:
        status = await asyncio.to_thread(product.start(BOT).wait, WAIT_S)

    assert status == 2
    assert f"refuses {refused}: copy the token from" in product.said()
    assert holders([*WRONG.values(), *(one.token for one in networks)], files(folder)) == []


@pytest.mark.parametrize(
    ("words", "variable", "value"),
    [
        (BOT, "DISCORD_TOKEN", "canary of discord 0451"),
        (DELIVERY, "TELEGRAM_TOKEN", "canary-of-telegram-0451"),
        (IMAGINE, "REDIS_URL", "http://:canary-of-redis-0451@redis"),
        (BOT, "REDIS_URL", "redis://canary-of-redis-0451@example.com:port"),
        (DELIVERY, "EASEL_KEY", "canary-0451"),
        (IMAGINE, "EASEL_KYE", "canary-of-the-signing-key-0451-0451"),
    ],
)
async def test_a_secret_in_a_wrong_form_is_not_shown(
    folder: Path, words: tuple[str, ...], variable: str, value: str
) -> None:
    with Product(folder, changes={variable: value, "EASEL_LOG_LEVEL": "DEBUG"}) as product:
        status = await asyncio.to_thread(product.start(words).wait, WAIT_S)

    assert status == 2
    assert variable in product.said()
    assert b"canary" not in b"".join(files(folder).values())


async def test_networks_that_are_away_do_not_bring_tokens_to_light(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        discord = await stack.enter_async_context(FakeDiscord())
        telegram = await stack.enter_async_context(FakeTelegram())
        told = Tokens(discord, telegram).variables()
    # Both are gone again: nobody listens there any more.
    with Product(folder, changes=told | {"EASEL_KEY": KEY, "EASEL_LOG_LEVEL": "DEBUG"}) as product:
        part = product.start(BOT)
        await telegram_and_discord_were_tried(product)
        press_ctrl_c(part)
        assert await asyncio.to_thread(part.wait, WAIT_S) == 0

    assert holders([discord.token, telegram.token, KEY], files(folder)) == []


async def telegram_and_discord_were_tried(product: Product) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not all(f"{name} can not be reached" in product.said() for name in ("Discord", "Telegram")):
        assert asyncio.get_running_loop().time() < deadline, product.said()
        await asyncio.sleep(0.05)
