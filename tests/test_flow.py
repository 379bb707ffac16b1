"""Door to door: the started product against both networks, with the demo checkpoint and real processes."""

import asyncio
import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from bot.commands import job_id_for
from easel.buttons import LABELS
from easel.infotext.files import read
from easel.job_queue import names
from easel.job_queue.queue import JobQueue
from easel.jobs import ImageRequest
from tests.fakes import telegram_messages
from tests.fakes.bare_diffusers import load_pipeline, paint
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.product import (
    BOT,
    DELIVERY,
    EASEL,
    Product,
    Tokens,
    child,
    children,
    mapped,
    press_ctrl_c,
    resident_mib,
)
from tests.fakes.telegram_door import answer_to
from tests.fakes.telegram_server import FakeTelegram

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
]

START_S = 90
PAINT_S = 100
"""What a picture may take while other programs want the cores too."""
ANSWER_S = 0.2
RERUN_S = 6
STOP_S = 30

APPLE = ImageRequest(
    prompt="a red apple",
    checkpoint="easel-demo",
    width=128,
    height=128,
    steps=8,
    cfg_scale=4,
    sampler="DPM++ 2M",
    schedule="SGM Uniform",
    seed=1,
)
UNENLARGED = """\
default: easel-demo
models:
  easel-demo:
    kind: checkpoint
    path: Stable-diffusion/easel-demo
    base: sd15
    defaults: {width: 128, height: 128, steps: 20, cfg_scale: 4, sampler: DPM++ 2M, schedule: SGM Uniform}
"""

Pixels = NDArray[np.int16]
Tell = Callable[[str], None]


class Studio:
    """The product on both networks; it is started again by whoever needs it after it was stopped."""

    def __init__(self, product: Product, discord: FakeDiscord, telegram: FakeTelegram) -> None:
        self.product = product
        self.discord = discord
        self.telegram = telegram
        # On another core while the product starts.
        self._apple = asyncio.create_task(asyncio.to_thread(lambda: pixels(paint(load_pipeline(), APPLE))))

    async def by_diffusers(self) -> Pixels:
        """Return what diffusers' own pipeline makes of the red apple."""
        return await self._apple

    @property
    def up(self) -> Any:
        return self.product.started[-1]

    async def be_up(self) -> None:
        if not self.product.started or self.up.poll() is not None:
            calls = len(self.telegram.calls("getUpdates"))
            self.product.start()
            try:
                await self.discord.wait_until_ready(START_S)
                await self.telegram.wait_for(lambda: len(self.telegram.calls("getUpdates")) > calls, START_S)
                with self.product.queue() as queue:
                    await self.telegram.wait_for(queue.workers, START_S)
            except (TimeoutError, AssertionError) as error:
                raise AssertionError(f"The product does not start:\n{self.product.said()[-4000:]}") from error

    async def say(self, text: str) -> telegram_messages.Message:
        """Write to the bot; return its answer, which becomes the picture."""
        return await answer_to(self.telegram, await self.telegram.send(text), 10)

    async def painted(self, message: telegram_messages.Message) -> bytes:
        return await self.telegram.wait_for(lambda: message.photo if message.labels else None, PAINT_S)

    async def settled(self, queue: JobQueue) -> None:
        """Wait until nobody is owed anything, so that no message will change any more."""
        await self.telegram.wait_for(lambda: not queue.connection.zcard(names.OWED), PAINT_S)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running() -> AsyncIterator[Studio]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="easel-flow-")))
        (folder / "models.yaml").write_text(UNENLARGED)
        discord = await stack.enter_async_context(FakeDiscord())
        discord.enforce_rates = True
        telegram = await stack.enter_async_context(FakeTelegram())
        changes = {"EASEL_MODELS_FILE": str(folder / "models.yaml")}
        product = stack.enter_context(Product(folder, Tokens(discord, telegram), changes))
        yield Studio(product, discord, telegram)


@pytest_asyncio.fixture(loop_scope="module")
async def studio(running: Studio) -> AsyncIterator[Studio]:
    """The running product; whatever is done with it, it does nothing that the networks forbid."""
    await running.be_up()
    yield running
    assert running.discord.violations == running.telegram.violations == running.discord.own_faults == []


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Put a figure into what pytest prints."""

    def write(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {text} ")

    return write


def pixels(picture: bytes | Image.Image) -> Pixels:
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    return np.asarray(image.convert("RGB")).astype(np.int16)


def apart(one: Pixels, other: Pixels) -> int:
    """Return the greatest difference of any pixel, in grey levels."""
    assert one.shape == other.shape
    return int(np.abs(one - other).max())


def seed_of(picture: bytes) -> str:
    return str(read(picture)).partition("Seed: ")[2].partition(",")[0]


def with_pictures(history: list[Any]) -> list[Any]:
    """Return the states with finished pictures; a preview has another name, and no buttons."""
    return [
        state
        for state in history
        if is_finished(state) or (getattr(state, "photo", None) and getattr(state, "markup", None))
    ]


def is_finished(state: Any) -> bool:
    return any(one.filename.startswith("picture-") for one in getattr(state, "attachments", ()))


async def test_what_is_asked_on_discord_is_painted_as_diffusers_paints_it(studio: Studio, tell: Tell) -> None:
    apple = await studio.by_diffusers()
    asked = await studio.discord.slash("imagine", {"prompt": "a red apple", "seed": 1, "steps": 8})
    acknowledged_s = await asked.acknowledged
    message = await asked.wait_for(is_finished, PAINT_S)
    with studio.product.queue() as queue:
        await studio.settled(queue)

    assert acknowledged_s < 5 * ANSWER_S
    assert [state.loading for state in message.history[:2]] == [True, False]
    assert message.history[1].content.startswith("Queued: ")
    assert len(with_pictures(message.history)) == len(message.attachments) == 1
    difference = apart(pixels(message.attachments[0].data), apple)
    tell(f"the picture differs from diffusers' own by {difference} grey levels at most")
    assert difference <= 1
    assert studio.discord.messages_in() == [message]

    pressed = await studio.discord.click(message, LABELS["again"])
    second = await pressed.wait_for(is_finished, PAINT_S)
    assert seed_of(message.attachments[0].data) == "1"
    assert seed_of(second.attachments[0].data) != "1"
    assert apart(pixels(second.attachments[0].data), apple) > 16

    for shown in (message, second):
        await studio.discord.click(shown, LABELS["delete"])
    await studio.telegram.wait_for(lambda: not studio.discord.messages_in(), 10)


async def test_what_is_asked_on_telegram_is_painted_as_diffusers_paints_it(studio: Studio) -> None:
    apple = await studio.by_diffusers()
    said = await studio.telegram.send("/imagine a red apple --seed 1 --steps 8")
    message = await answer_to(studio.telegram, said, 10)
    picture = await studio.painted(message)
    with studio.product.queue() as queue:
        await studio.settled(queue)

    assert message.history[0].at - said.state.at < 5 * ANSWER_S
    assert str(message.history[0].text).startswith("Queued: ")
    assert len(with_pictures(message.history)) == 1
    assert apart(pixels(picture), apple) <= 1
    assert studio.telegram.private.from_bot == [message]

    query = await studio.telegram.click(message, LABELS["again"])
    second = await studio.telegram.wait_for(lambda: next(iter(studio.telegram.private.from_bot[1:]), None), 10)
    again = await studio.painted(second)
    assert query.answered
    assert (seed_of(picture), second.reply_to) == ("1", message)
    assert seed_of(again) != "1"
    assert apart(pixels(again), apple) > 16

    for shown in (message, second):
        await studio.telegram.click(shown, LABELS["delete"])
    await studio.telegram.wait_for(lambda: not studio.telegram.private.from_bot, 60)


async def test_the_command_line_shares_the_worker_and_the_demos_pictures_are_enlarged(studio: Studio) -> None:
    apple = await studio.by_diffusers()
    words = (*EASEL, "imagine", "a red apple", "--seed", "1", "--steps", "8")
    repo = str(Path(__file__).parents[1] / "models.yaml")

    asked = studio.product.start(words, log="imagine.log", EASEL_MODELS_FILE=repo)
    status = await asyncio.to_thread(asked.wait, PAINT_S)
    studio.product.started.remove(asked)

    assert status == 0, studio.product.said("imagine.log")
    (file,) = (studio.product.folder / "out").iterdir()
    small = Image.fromarray(apple.astype(np.uint8))
    large = small.resize((512, 512), Image.Resampling.LANCZOS)
    assert apart(pixels(file.read_bytes()), pixels(large)) <= 2
    with studio.product.queue() as queue:
        assert queue.workers() == 1


async def test_a_worker_that_is_killed_while_it_paints_loses_nothing(studio: Studio, tell: Tell) -> None:
    with studio.product.queue() as queue:
        said = await studio.telegram.send("/imagine a red apple --steps 80 --size 64x64")
        message = await answer_to(studio.telegram, said, 10)
        job_id = job_id_for("telegram", said.chat.id, said.message_id)
        await studio.telegram.wait_for(lambda: step(queue, job_id) >= 5, PAINT_S)
        (worker,) = children(child(studio.up.pid, "worker") or 0)

        os.kill(worker, signal.SIGKILL)
        killed = time.monotonic()
        await studio.telegram.wait_for(lambda: attempts(queue, job_id) == 2 and step(queue, job_id) >= 1, PAINT_S)
        rerun_s = time.monotonic() - killed
        tell(f"painting again {rerun_s:.2f} s after the worker was killed")
        await studio.painted(message)
        await studio.settled(queue)

        assert rerun_s < 5 * RERUN_S
        assert attempts(queue, job_id) == 2
    assert children(child(studio.up.pid, "worker") or 0) != [worker]
    assert len(with_pictures(message.history)) == 1
    assert [one for one in studio.telegram.private.from_bot if one.reply_to is said] == [message]


def step(queue: JobQueue, job_id: str) -> int:
    progress = queue.state(job_id).progress
    return progress.step if progress else 0


def attempts(queue: JobQueue, job_id: str) -> int:
    return int(queue.connection.hget(names.record_key(job_id), "attempts") or 0)


async def test_the_bot_holds_no_torch_and_one_that_is_killed_comes_back(studio: Studio, tell: Tell) -> None:
    before = child(studio.up.pid, "bot") or 0
    files = mapped(before)
    resident = resident_mib(before)

    os.kill(before, signal.SIGKILL)
    killed = time.monotonic()
    await studio.telegram.wait_for(lambda: child(studio.up.pid, "bot") not in {None, before}, START_S)
    await studio.discord.wait_until_ready(START_S)
    tell(f"the bot holds {resident:.0f} MiB; {time.monotonic() - killed:.2f} s after it was killed there is another")

    assert "libpython" in files or "python" in files
    assert not [word for word in ("libtorch", "torch", "diffusers", "transformers", "numpy") if f"/{word}" in files]
    assert (await studio.say("/help")).text
    asked = await studio.discord.slash("help")
    assert (await asked.message).text


async def test_without_a_worker_the_placeholder_says_so() -> None:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="easel-flow-"))
        discord = await stack.enter_async_context(FakeDiscord())
        telegram = await stack.enter_async_context(FakeTelegram())
        product = stack.enter_context(Product(Path(folder), Tokens(discord, telegram)))
        parts = [product.start(BOT), product.start(DELIVERY)]
        await discord.wait_until_ready(START_S)

        asked = await discord.slash("imagine", {"prompt": "a red apple"})
        said = await telegram.send("/imagine a red apple")
        placeholders = [(await asked.message).content, (await answer_to(telegram, said, START_S)).text]
        for part in parts:
            press_ctrl_c(part)
        statuses = [await asyncio.to_thread(part.wait, STOP_S) for part in parts]

        assert placeholders == ["Queued. No worker is running yet; the picture is drawn as soon as one is."] * 2
        assert (statuses, product.running) == ([0, 0], [])


async def test_ctrl_c_lets_a_picture_be_finished_and_leaves_nothing_behind(studio: Studio, tell: Tell) -> None:
    up, before = studio.up, len(studio.product.running)
    message = await studio.say("/imagine a red apple --steps 150 --size 64x64")
    await studio.telegram.wait_for(lambda: message.words.startswith("Drawing: "), PAINT_S)
    pressed = time.monotonic()

    press_ctrl_c(up)
    status = await asyncio.to_thread(up.wait, PAINT_S)
    tell(f"{before} processes ended {time.monotonic() - pressed:.2f} s after Ctrl+C, a picture was finished first")

    said = studio.product.said()
    assert (status, studio.product.running) == (0, [])
    assert len(with_pictures(message.history)) == 1
    assert before >= 6
    assert said.rstrip().endswith("Stopped.")
    assert "Traceback" not in said
    assert not [token for token in (studio.discord.token, studio.telegram.token) if token in said]
