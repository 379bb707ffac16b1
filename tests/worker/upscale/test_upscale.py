"""Enlarging pictures: pieces, sizes, memory, and precision."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from easel.catalog import ModelCard, ModelKind
from easel.errors import BadValue, BlackPicture, Cancelled, OutOfMemory
from tests.fakes.esrgan_files import OldEsrgan, new_names
from worker.upscale.hot import UpscalerCache
from worker.upscale.rrdbnet import RRDBNet, Shape
from worker.upscale.upscale import upscale

CPU = torch.device("cpu")


def network(scale: int = 2, *, unshuffle: int = 1) -> RRDBNet:
    """Return a random network whose pictures have contrast, so that a seam would show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = RRDBNet(Shape(8, 4, 1, (scale * unshuffle).bit_length() - 1, unshuffle)).requires_grad_(False)
    for name, weight in made.named_parameters():
        if name.endswith("weight"):
            weight.mul_(2)
    made.conv_last.bias.fill_(0.5)
    return made.eval()


def photo(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(5)
    coarse = Image.fromarray(random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def whole(image: Image.Image, one: RRDBNet) -> np.ndarray:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    larger = (one(pixels)[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return larger.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_a_picture_in_pieces_equals_the_picture_as_a_whole(unshuffle: int) -> None:
    one, image = network(unshuffle=unshuffle), photo(301, 270)

    pieced = np.asarray(upscale(image, 2, one, CPU), dtype=int)

    assert pieced.shape == (540, 602, 3)
    assert pieced.std() > 40
    assert np.abs(pieced - whole(image, one)).max() <= 1


@pytest.mark.parametrize("wanted", [1.5, 2, 3.3, 4])
@pytest.mark.parametrize("own", [1, 2, 4])
def test_any_size_can_be_reached_with_any_network(own: int, wanted: float) -> None:
    larger = upscale(photo(20, 30), wanted, network(own), CPU)

    assert larger.size == (round(20 * wanted), round(30 * wanted))


def test_a_network_that_enlarges_too_little_follows_itself() -> None:
    one, image = network(2), photo(24, 16)

    twice = upscale(image, 4, one, CPU)

    step = Image.fromarray(whole(image, one))
    assert np.array_equal(np.asarray(twice), whole(step, one))


def test_a_network_that_enlarges_too_much_is_taken_back() -> None:
    one, image = network(4), photo(24, 16)

    half = upscale(image, 2, one, CPU)

    expected = Image.fromarray(whole(image, one)).resize((48, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(half), np.asarray(expected))


def test_lanczos_needs_no_network() -> None:
    image = photo(24, 16)

    assert upscale(image, 1.5, None, CPU) == image.resize((36, 24), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "CMYK"])
def test_pictures_of_any_mode_become_colour_pictures(mode: str) -> None:
    image = photo(24, 16).convert(mode)

    assert upscale(image, 2, network(), CPU).mode == "RGB"
    assert upscale(image, 2, None, CPU).mode == "RGB"


def test_a_single_pixel_can_be_enlarged() -> None:
    assert upscale(photo(1, 1), 4, network(2, unshuffle=2), CPU).size == (4, 4)


class Cramped(RRDBNet):
    """Has room for so many pixels."""

    room = 0

    def forward(self, pixels: Tensor) -> Tensor:
        if pixels.shape[-1] * pixels.shape[-2] > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(pixels)


def cramped(room: int) -> Cramped:
    made = Cramped(network().shape)
    made.load_state_dict(network().state_dict())
    made.room = room
    return made.eval().requires_grad_(False)


def test_where_memory_runs_out_the_pieces_get_smaller() -> None:
    image = photo(150, 100)

    pieced = np.asarray(upscale(image, 2, cramped(70 * 70), CPU), dtype=int)

    assert np.abs(pieced - whole(image, network())).max() <= 2


def test_where_memory_runs_out_in_the_smallest_piece_that_is_said() -> None:
    with pytest.raises(OutOfMemory, match="not enough memory here to enlarge"):
        upscale(photo(150, 100), 2, cramped(10 * 10), CPU)


def test_an_error_that_is_not_about_memory_is_no_matter_of_size() -> None:
    one = network()
    one.conv_last = torch.nn.Conv2d(5, 3, 3)

    with pytest.raises(RuntimeError, match="channels"):
        upscale(photo(20, 20), 2, one, CPU)


def test_half_precision_that_overflows_is_repeated_in_full() -> None:
    loud = network()
    for name, gain in (("conv_up.1", 1e3), ("conv_hr", 1e3), ("conv_last", 1e-6)):
        loud.get_submodule(name).weight *= gain
    loud.half()
    expected = whole(photo(20, 20), copy.deepcopy(loud).float())

    larger = upscale(photo(20, 20), 2, loud, CPU)

    assert loud.dtype == torch.float32
    assert np.abs(np.asarray(larger, dtype=int) - expected).max() <= 2


def test_a_network_without_numbers_is_not_shown() -> None:
    broken = network()
    broken.conv_last.bias.fill_(torch.nan)

    with pytest.raises(BlackPicture, match="choose another upscaler"):
        upscale(photo(20, 20), 2, broken, CPU)


def test_it_ends_before_the_next_piece_when_cancelled() -> None:
    asked = iter([False, True])

    with pytest.raises(Cancelled):
        upscale(photo(300, 20), 2, network(), CPU, cancelled=lambda: next(asked))


def test_a_picture_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(BadValue, match="too large for this upscaler"):
        upscale(Image.new("RGB", (6000, 6000)), 2, network(), CPU)


def test_upscalers_stay_warm_and_the_oldest_leaves(tmp_path: Path) -> None:
    for name in "abc":
        save_file(new_names(OldEsrgan(1)), tmp_path / f"{name}.safetensors")
    cards = [ModelCard(name=n, kind=ModelKind.UPSCALER, path=f"{n}.safetensors", root="0") for n in "abc"]
    cache = UpscalerCache(lambda card: tmp_path / card.path, device=CPU, most=2)

    a, b = cache.get(cards[0]), cache.get(cards[1])
    assert cache.get(cards[0]) is a
    cache.get(cards[2])

    assert cache.get(cards[0]) is a
    assert cache.get(cards[1]) is not b
