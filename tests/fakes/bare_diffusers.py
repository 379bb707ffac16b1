"""What diffusers alone makes of a request: its own StableDiffusionPipeline on the demo checkpoint's folder, on the CPU.

`python -m tests.fakes.bare_diffusers` paints each request that comes in as a line of JSON, and answers with the seconds.
"""

import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from easel.jobs import ImageRequest

DEMO = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "easel-demo"


def load_pipeline(folder: Path = DEMO) -> Any:
    import diffusers
    import torch

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(pipeline: Any, request: ImageRequest) -> Image.Image:
    """Return the request's first picture, before it is enlarged."""
    import torch

    from worker.engine.samplers import make_scheduler

    config = pipeline.scheduler.config
    pipeline.scheduler = make_scheduler(request.sampler, request.schedule, config, request.steps)
    image: Image.Image = pipeline(
        request.prompt,
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=request.cfg_scale,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    ).images[0]
    return image


def main() -> None:
    pipeline = load_pipeline()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = ImageRequest.model_validate_json(line)
        began = time.perf_counter()
        paint(pipeline, request)
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
