"""What Easel adds to bare diffusers, how soon it answers, and how soon it paints again after a worker was killed.

The product's own processes and the demo checkpoint, against a Discord and a Telegram on loopback.
Run from the repository: python -m benchmarks.overhead --help
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from statistics import median

from bot.commands import job_id_for
from easel.job_queue import names
from easel.job_queue.queue import JobQueue
from easel.jobs import ImageRequest
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.product import BOT, ROOT, Product, Tokens, child, children, resident_mib
from tests.fakes.telegram_door import answer_to
from tests.fakes.telegram_messages import Message
from tests.fakes.telegram_server import FakeTelegram

PATIENCE_S = 300
PROMPTS = ("a red apple", "a blue square", "a green circle", "a yellow star on a black background", "two red apples")


@dataclass(slots=True)
class Figures:
    bot_start_s: float = 0.0
    bot_mib: float = 0.0
    bare_s: list[float] = field(default_factory=list)
    painting_s: list[float] = field(default_factory=list)
    picture_s: list[float] = field(default_factory=list)
    discord_s: list[float] = field(default_factory=list)
    telegram_s: list[float] = field(default_factory=list)
    rerun_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Bench:
    """The started product, and the measurements."""

    product: Product
    discord: FakeDiscord
    telegram: FakeTelegram
    figures: Figures = field(default_factory=Figures)

    async def bot_start(self) -> None:
        """Seconds from the start of the bot alone until both networks have it, and its memory then."""
        began = time.monotonic()
        process = self.product.start(BOT)
        await self._doors_open()
        self.figures.bot_start_s = time.monotonic() - began
        self.figures.bot_mib = resident_mib(process.pid)
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait)
        self.telegram.requests.clear()

    async def be_up(self) -> int:
        """Start everything; return the process id of `easel up`."""
        process = self.product.start()
        await self._doors_open()
        with self.product.queue() as queue:
            await self.telegram.wait_for(queue.workers, PATIENCE_S)
        return process.pid

    async def _doors_open(self) -> None:
        await self.telegram.wait_for(lambda: self.telegram.calls("getUpdates"), PATIENCE_S)
        await self.discord.wait_until_ready(PATIENCE_S)

    # -- overhead

    async def overhead(self, queue: JobQueue, pictures: int) -> None:
        """Paint the same requests through the bot and by diffusers alone, taking turns."""
        with bare_diffusers(self.product.environment()) as bare:
            for n in range(pictures + 1):
                said, picture_s = await self._picture(f"/imagine {PROMPTS[n % len(PROMPTS)]} --seed {n}")
                state = queue.state(job_id_for("telegram", said.chat.id, said.message_id))
                bare_s = await asyncio.to_thread(bare.paint, state.job.request)
                # The first ones load the checkpoint.
                if n and state.result:
                    self.figures.picture_s.append(picture_s)
                    self.figures.painting_s.append(state.result.seconds)
                    self.figures.bare_s.append(bare_s)

    async def _picture(self, text: str) -> tuple[Message, float]:
        said = await self.telegram.send(text)
        message = await answer_to(self.telegram, said, PATIENCE_S)
        await self.telegram.wait_for(lambda: message.photo, PATIENCE_S)
        return said, message.state.at - said.state.at

    # -- answers

    async def answers(self, queue: JobQueue, commands: int) -> None:
        """Ask on both networks in turn while the worker paints what was asked before."""
        for n in range(commands):
            if n % 2:
                asked = await self.discord.slash("imagine", {"prompt": "a red apple", "steps": 1})
                self.figures.discord_s.append(await asked.acknowledged)
                await asked.message
            else:
                said = await self.telegram.send("/imagine a red apple --steps 1")
                message = await answer_to(self.telegram, said, PATIENCE_S)
                self.figures.telegram_s.append(message.history[0].at - said.state.at)
        await self._settled(queue)

    async def _settled(self, queue: JobQueue) -> None:
        await self.telegram.wait_for(lambda: not queue.connection.zcard(names.OWED), PATIENCE_S)

    # -- recovery

    async def reruns(self, queue: JobQueue, up: int, kills: int) -> None:
        """Kill the worker while it paints; seconds until the same picture is painted again."""
        for _ in range(kills):
            said = await self.telegram.send("/imagine a red apple --steps 150 --size 64x64")
            job_id = job_id_for("telegram", said.chat.id, said.message_id)
            await answer_to(self.telegram, said, PATIENCE_S)
            await self._painting(queue, job_id, 1, 5)
            (worker,) = children(child(up, "worker") or 0)
            os.kill(worker, signal.SIGKILL)
            killed = time.monotonic()
            await self._painting(queue, job_id, 2, 1)
            self.figures.rerun_s.append(time.monotonic() - killed)
            await self._settled(queue)

    async def _painting(self, queue: JobQueue, job_id: str, attempt: int, step: int) -> None:
        """Wait until the job is that far, at that attempt."""

        def look() -> bool:
            attempts = int(queue.connection.hget(names.record_key(job_id), "attempts") or 0)
            progress = queue.state(job_id).progress
            return attempts == attempt and progress is not None and progress.step >= step

        await self.telegram.wait_for(look, PATIENCE_S)


@dataclass(slots=True)
class Bare:
    """Diffusers' own pipeline in a process with the same environment; it sleeps between two pictures."""

    process: "subprocess.Popen[str]"

    def paint(self, request: ImageRequest) -> float:
        """Return the seconds that the pipeline's call takes."""
        assert self.process.stdin
        self.process.stdin.write(request.model_dump_json() + "\n")
        self.process.stdin.flush()
        return float(self.said())

    def said(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@contextmanager
def bare_diffusers(environment: dict[str, str]) -> Iterator[Bare]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.bare_diffusers"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        bare = Bare(process)
        assert bare.said() == "ready"
        yield bare


async def measure(options: argparse.Namespace) -> Figures:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="easel-bench-"))
        discord = await stack.enter_async_context(FakeDiscord())
        telegram = await stack.enter_async_context(FakeTelegram())
        threads = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
        product = stack.enter_context(Product(Path(folder), Tokens(discord, telegram), threads))
        bench = Bench(product, discord, telegram)
        await bench.bot_start()
        up = await bench.be_up()
        with product.queue() as queue:
            await bench.overhead(queue, options.pictures)
            await bench.answers(queue, options.commands)
            await bench.reruns(queue, up, options.kills)
        for violation in (*discord.violations, *telegram.violations):
            print(f"! {violation}")
        return bench.figures


def table(figures: Figures) -> Iterator[tuple[str, str]]:
    """Yield what was measured, and the figure."""
    yield "bot: start until both networks have it", f"{figures.bot_start_s:.2f} s"
    yield "bot: memory (RSS)", f"{figures.bot_mib:.0f} MiB"
    if figures.bare_s:
        ratios = [whole / bare for whole, bare in zip(figures.picture_s, figures.bare_s, strict=True)]
        yield f"picture, diffusers alone (median of {len(ratios)})", f"{median(figures.bare_s):.3f} s"
        yield "picture, in Easel's worker", f"{median(figures.painting_s):.3f} s"
        yield "picture, from the command to the chat", f"{median(figures.picture_s):.3f} s"
        yield "ratio of the last to the first", f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    for name, seconds in (("Discord", figures.discord_s), ("Telegram", figures.telegram_s)):
        if seconds:
            shown = " / ".join(f"{1000 * percentile(seconds, share):.1f}" for share in (0.5, 0.99, 1.0))
            yield f"first answer on {name}: p50 / p99 / max of {len(seconds)}", f"{shown} ms"
    if figures.rerun_s:
        each = ", ".join(f"{seconds:.2f}" for seconds in figures.rerun_s)
        yield "worker killed: until it is painted again", f"median {median(figures.rerun_s):.2f} s ({each})"


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[ceil(share * len(values)) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=5, help="to compare with diffusers alone (default: 5)")
    parser.add_argument("--commands", type=int, default=100, help="whose first answer is timed (default: 100)")
    parser.add_argument("--kills", type=int, default=5, help="of a painting worker (default: 5)")
    parser.add_argument("--threads", type=int, default=0, help="OMP_NUM_THREADS for all (default: as it is set)")
    options = parser.parse_args()
    os.chdir(ROOT)
    rows = list(table(asyncio.run(measure(options))))
    width = max(len(name) for name, _ in rows)
    for name, figure in rows:
        print(f"{name:<{width}}  {figure}")


if __name__ == "__main__":
    main()
