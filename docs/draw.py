"""Draws every picture of the documentation with the demo checkpoint: `make docs`."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from easel.jobs import Axis, Canvas, HiresFix, ImageRequest, Plot, Upscale
from easel.library import WatchedLibrary
from easel.pictures import labelled_grid
from easel.settings import load_settings
from worker.diffusers_renderer import DiffusersRenderer
from worker.renderer import Failed, Finished

IMAGES = Path(__file__).parent / "images"
DEFAULTS: dict[str, Any] = {
    "checkpoint": "easel-demo",
    "width": 128,
    "height": 128,
    "steps": 20,
    "cfg_scale": 4.0,
    "sampler": "DPM++ 2M",
    "schedule": "SGM Uniform",
    "seed": 1,
}


class Studio:
    """The renderer in this process, with a result store of its own."""

    def __init__(self, folder: Path) -> None:
        self.store: dict[str, bytes] = {}
        library = WatchedLibrary(load_settings({"EASEL_DATA_DIR": str(folder)}))
        self._renderer = DiffusersRenderer(library, device="cpu", fetch=self.store.__getitem__)

    def draw(self, prompt: str, **changes: Any) -> Image.Image:
        """Return the first picture of a request."""
        request = ImageRequest.model_validate(DEFAULTS | {"prompt": prompt} | changes)
        self._renderer.admit("docs", request)
        while True:
            for event in self._renderer.step():
                match event:
                    case Finished():
                        return Image.open(io.BytesIO(event.pictures[0])).convert("RGB")
                    case Failed():
                        raise event.error

    def keep(self, image: Image.Image) -> str:
        """Put a picture into the store and return its name."""
        out = io.BytesIO()
        image.save(out, "PNG")
        name = f"picture{len(self.store)}"
        self.store[name] = out.getvalue()
        return name


def row(name: str, pictures: Sequence[tuple[str, Image.Image]], *, side: int = 192) -> None:
    """Save labelled pictures side by side."""
    sized = [ImageOps.pad(picture, (side, side), color="lightgray") for _, picture in pictures]
    sheet = labelled_grid([sized], columns=[label for label, _ in pictures])
    sheet.save(IMAGES / f"{name}.png", optimize=True)


def words(studio: Studio) -> None:
    prompts = ("a red apple", "a penguin", "a blue car", "a pizza", "a rocket", "a house")
    row("demo", [(prompt, studio.draw(prompt, seed=3)) for prompt in prompts], side=160)
    weights = (
        "a red apple",
        "a (red:1.4) apple",
        "a [red:blue:0.3] apple",
        "a [red|blue] apple",
        "a red AND a blue apple",
    )
    row("prompt", [(prompt, studio.draw(prompt)) for prompt in weights])
    row(
        "variation",
        [
            (f"vary {share:g}", studio.draw("a cat", variation_seed=7, variation_strength=share))
            for share in (0, 0.2, 0.5, 1)
        ],
    )


def pictures(studio: Studio) -> None:
    apple = studio.draw("a red apple", seed=3)
    given = studio.keep(apple)
    strengths = (0.4, 0.6, 0.8)
    row(
        "image-to-image",
        [
            ("given", apple),
            *(
                (f"strength {s:g}", studio.draw("a blue car", init_image=given, denoising_strength=s))
                for s in strengths
            ),
        ],
    )
    mask = Image.new("L", apple.size, 0)
    ImageDraw.Draw(mask).rectangle((64, 0, 128, 128), fill=255)
    pair = studio.draw("an apple and a banana", seed=4)
    changed = studio.draw(
        "an apple and a cat", init_image=studio.keep(pair), mask=studio.keep(mask), denoising_strength=1.0
    )
    row("inpainting", [("given", pair), ("mask", mask.convert("RGB")), ("repainted", changed)])
    scene = "a small dog on a blue background"
    dog = studio.draw(scene, seed=2)
    around = {"init_image": studio.keep(dog), "denoising_strength": 0.8}
    wide = studio.draw(scene, canvas=Canvas(left=32, right=32), **around)
    out = studio.draw(scene, canvas=Canvas(zoom=1.5), **around)
    row("outpainting", [("given", dog), ("more room", wide), ("zoomed out", out)])
    larger = studio.draw("a red apple", init_image=given, upscale=Upscale(scale=2))
    fixed = studio.draw("a red apple", seed=3, hires_fix=HiresFix(scale=1.5, denoising_strength=0.3))
    row("larger", [("128 px", apple), ("upscaled", larger), ("hires fix", fixed)])
    tile = studio.draw("a sunflower", tiling=True)
    field = Image.new("RGB", (tile.width * 2, tile.height * 2))
    for n in range(4):
        field.paste(tile, (n % 2 * tile.width, n // 2 * tile.height))
    row("tiling", [("one tile", tile), ("four tiles", field)])


def plots(studio: Studio) -> None:
    steps = Axis(field="steps", values=("2", "4", "8", "20"))
    cfg = Axis(field="cfg_scale", values=("1", "3", "6"))
    studio.draw("a robot", plot=Plot(x=steps, y=cfg)).save(IMAGES / "plot.png", optimize=True)
    samplers = ("Euler a", "Euler", "DPM++ 2M", "DPM++ SDE", "DDIM", "UniPC", "Heun", "LMS")
    row(
        "samplers", [(name, studio.draw("a guitar", sampler=name, schedule="Automatic")) for name in samplers], side=128
    )


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder))
        for draw in (words, pictures, plots):
            draw(studio)


if __name__ == "__main__":
    main()
