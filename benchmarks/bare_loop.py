"""What everybody writes first: a diffusers pipeline called once per request; the yardstick of `throughput.py`.

    python -m benchmarks.bare_loop FOLDER < requests.json

Reads one JSON list of requests per line, draws each list after a warm-up, prints the seconds it took.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from worker.engine.samplers import make_scheduler


def draw(pipe: Any, request: dict[str, Any], out: Path) -> None:
    config = dict(pipe.scheduler.config)
    pipe.scheduler = make_scheduler(request["sampler"], request["schedule"], config, request["steps"])
    image = pipe(
        request["prompt"],
        negative_prompt=request["negative_prompt"] or None,
        num_inference_steps=request["steps"],
        guidance_scale=request["cfg_scale"],
        width=request["width"],
        height=request["height"],
        generator=torch.Generator().manual_seed(request["seed"]),
    ).images[0]
    image.save(out / "picture.png")


def main() -> None:
    pipe = DiffusionPipeline.from_pretrained(sys.argv[1], local_files_only=True, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            began = time.perf_counter()
            for request in json.loads(line):
                draw(pipe, request, Path(folder))
            print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
