"""Pictures per second of the whole path, from command to delivered PNG, over a bare diffusers loop in the same run.

    python -m benchmarks.throughput [--models demo,sd15,sdxl] [--rounds 3] [--curve 1,2,4,8,16]

The whole path is real: queue, worker process, delivery process, a local Telegram. The loop runs in a process of its own
with the same weights and threads. Both are timed in turns; ratios are of medians (above 1: Easel is faster).
"""

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from bot.commands import Commands
from easel.catalog import Base
from easel.jobs import Asker, ImageRequest, TelegramAddress, new_job_id
from easel.library import WatchedLibrary
from easel.settings import load_settings
from tests.fakes.product import DELIVERY, MODELS, ROOT, Product, Tokens
from tests.fakes.telegram_client import post
from tests.fakes.telegram_server import FakeTelegram
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from worker.checkpoints.load import load_folder
from worker.conditioning.encoder import Encoder
from worker.engine.engine import Engine
from worker.engine.samplers import make_scheduler

MIXED = [
    ("DPM++ 2M", "Karras", 20, 4.0),
    ("Euler a", "Automatic", 16, 5.0),
    ("Euler", "Automatic", 24, 3.0),
    ("DDIM", "Automatic", 18, 4.5),
    ("UniPC", "Automatic", 15, 6.0),
    ("DPM++ 2M", "Automatic", 22, 7.0),
    ("LMS", "Automatic", 20, 4.0),
    ("DPM++ 2M SDE", "Karras", 17, 5.5),
]
THINGS = ("apple", "car", "penguin", "house", "tree", "guitar", "robot", "heart")
COLORS = ("red", "blue", "green", "yellow", "purple", "black", "orange", "pink")


def forms(count: int, *, mixed: bool) -> list[dict[str, str]]:
    """Return forms as people fill them."""
    filled = []
    for n in range(count):
        sampler, schedule, steps, cfg = MIXED[n % len(MIXED)] if mixed else ("DPM++ 2M", "Automatic", 20, 4.0)
        prompt = f"a {COLORS[n % 8]} {THINGS[n * 3 % 8]}"
        filled.append(
            {
                "prompt": prompt,
                "sampler": sampler,
                "schedule": schedule,
                "steps": str(steps),
                "cfg": str(cfg),
                "seed": str(n),
            }
        )
    return filled


class Rig:
    """One model in a running product, and the bare loop beside it."""

    def __init__(self, name: str, folder: Path, telegram: FakeTelegram) -> None:
        self.name = name
        self.telegram = telegram
        self.weights = _weights(name, folder)
        models_file = folder / "models.yaml"
        side = 128 if name == "demo" else 64
        defaults = {"width": side, "height": side}
        card = {"kind": "checkpoint", "path": f"Stable-diffusion/{self.weights.name}", "defaults": defaults}
        models_file.write_text(json.dumps({"default": name, "models": {name: card}}))
        settings = {"EASEL_MODELS_DIR": str(self.weights.parents[1]), "EASEL_MODELS_FILE": str(models_file)}
        # As the worker sets it for itself: both wait for their threads in the same way.
        settings |= {"GOMP_SPINCOUNT": "10000", "OMP_WAIT_POLICY": "ACTIVE"}
        self.stack = ExitStack()
        self.product = self.stack.enter_context(Product(folder, Tokens(telegram=telegram), settings))
        self.bare = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "bare_loop.py"), str(self.weights)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.product.environment(),
            text=True,
        )

    async def start(self) -> None:
        self.library = WatchedLibrary(load_settings(self.product.environment()))
        self.product.start(("worker",), log="worker.log")
        self.product.start(DELIVERY, log="delivery.log")
        self.queue = self.stack.enter_context(self.product.queue())
        self.commands = Commands(self.queue, lambda: self.library.catalog)
        while not await asyncio.to_thread(self.queue.workers):
            await asyncio.sleep(0.1)  # another process tells nobody that it is there
        for count in (1, 8):
            # Everything is warm and batch sizes are found out before anything is timed.
            await self.together(forms(count, mixed=True))
            await self.loop(forms(count, mixed=True))

    def requests(self, filled: Sequence[dict[str, str]]) -> list[ImageRequest]:
        return [self.commands.request(form) for form in filled]

    async def ask(self, form: dict[str, str]) -> str:
        chat = self.telegram.private
        job_id = new_job_id()
        reply_to, asker = TelegramAddress(chat_id=chat.id), Asker(network="telegram", id="1")
        placed = await asyncio.to_thread(self.commands.imagine, form, asker=asker, reply_to=reply_to, job_id=job_id)
        answer = await post(self.telegram, "sendMessage", chat_id=chat.id, text=placed.text)
        number = answer["result"]["message_id"]
        await asyncio.to_thread(self.queue.placed, job_id, str(number))
        return str(number)

    async def arrived(self, number: str) -> None:
        message = self.telegram.private.find(int(number))
        assert message is not None
        await self.telegram.wait_for(lambda: message.photo, timeout=600)

    async def one_by_one(self, filled: Sequence[dict[str, str]]) -> float:
        began = time.perf_counter()
        for form in filled:
            await self.arrived(await self.ask(form))
        return time.perf_counter() - began

    async def together(self, filled: Sequence[dict[str, str]]) -> float:
        began = time.perf_counter()
        for number in await asyncio.gather(*(self.ask(form) for form in filled)):
            await self.arrived(number)
        return time.perf_counter() - began

    async def loop(self, filled: Sequence[dict[str, str]]) -> float:
        assert self.bare.stdin
        assert self.bare.stdout
        self.bare.stdin.write(json.dumps([one.model_dump(mode="json") for one in self.requests(filled)]) + "\n")
        self.bare.stdin.flush()
        return float(await asyncio.to_thread(self.bare.stdout.readline))

    async def ratio(self, filled: Sequence[dict[str, str]], rounds: int, *, stream: bool) -> float:
        """Return the loop's time over ours, medians of `rounds` turns."""
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(await self.loop(filled))
            ours.append(await (self.one_by_one(filled) if stream else self.together(filled)))
        return statistics.median(theirs) / statistics.median(ours)

    def calls(self, filled: Sequence[dict[str, str]]) -> tuple[int, int, list[int]]:
        """Return UNet calls of the engine, those of one by one, and the batch sizes chosen, in pictures."""
        checkpoint = load_folder(
            self.weights, name=self.name, base=_base(self.name), device=torch.device("cpu"), dtype=torch.float32
        )
        engine, encoder = Engine("cpu"), Encoder(checkpoint)
        requests = self.requests(filled)
        scheduler = checkpoint.scheduler_config
        single = sum(len(make_scheduler(one.sampler, one.schedule, scheduler, one.steps).timesteps) for one in requests)
        sizes: list[int] = []
        checkpoint.modules[0].register_forward_pre_hook(lambda _, args: sizes.append(len(args[0]) // 2))
        for _ in range(2):  # the first round finds out the batch sizes
            sizes.clear()
            for n, request in enumerate(requests):
                engine.admit(str(n), request, checkpoint, encoder.plan(request))
            while engine.busy:
                engine.step()
        return len(sizes), single, sorted(set(sizes))

    def close(self) -> None:
        assert self.bare.stdin
        self.bare.stdin.close()
        self.bare.wait(30)
        self.stack.close()


def _base(name: str) -> Base:
    return Base.SD15 if name == "demo" else Base(name)


def _weights(name: str, folder: Path) -> Path:
    if name == "demo":
        return MODELS / "Stable-diffusion" / "easel-demo"
    place = folder / "models" / "Stable-diffusion" / name
    place.parent.mkdir(parents=True)
    return save_folder(tiny_checkpoint(Base(name)), place)


async def measure(name: str, rounds: int, curve: Sequence[int]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        async with FakeTelegram() as telegram:
            rig = Rig(name, Path(folder), telegram)
            try:
                await rig.start()
                stream = await rig.ratio(forms(20, mixed=False), rounds, stream=True)
                waiting = await rig.ratio(forms(8, mixed=True), rounds, stream=False)
                plot = {n: await rig.ratio(forms(n, mixed=True), 1, stream=False) for n in curve}
                calls, single, sizes = rig.calls(forms(8, mixed=True))
            finally:
                rig.close()
    return {"stream": stream, "waiting": waiting, "calls": calls / single, "sizes": sizes, "curve": plot}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", default="demo,sd15,sdxl", help="demo, sd15, sd2, sdxl (the last three: tiny, random)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--curve", default="", help="numbers of waiting jobs to plot, for example 1,2,4,8,16")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    # A `timeout` unwinds too, so that no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    curve = [int(n) for n in options.curve.split(",") if n]
    print(f"{'model':<8} {'one stream':>10} {'8 waiting':>10} {'UNet calls':>11}  batch sizes")
    found = {}
    for name in options.models.split(","):
        found[name] = row = asyncio.run(measure(name, options.rounds, curve))
        print(
            f"{name:<8} {row['stream']:>9.2f}x {row['waiting']:>9.2f}x {row['calls']:>10.2f}x  {row['sizes']}",
            flush=True,
        )
        for n, ratio in row["curve"].items():
            print(f"  {n:>3} waiting: {ratio:.2f}x", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
