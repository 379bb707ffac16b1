"""ESRGAN networks: every generation of names, and files that are something else."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from easel.errors import ModelUnusable
from tests.fakes.esrgan_files import OldEsrgan, middle_names, new_names
from worker.upscale.rrdbnet import RRDBNet, load_upscaler

CPU = torch.device("cpu")


def written(folder: Path, weights: Mapping[str, Tensor]) -> Path:
    path = folder / "upscaler.safetensors"
    save_file({name: weight.clone() for name, weight in weights.items()}, path)
    return path


def loaded(path: Path) -> RRDBNet:
    return load_upscaler(path, name="sharp", device=CPU, dtype=torch.float32)


def pixels(height: int = 9, width: int = 7) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
@pytest.mark.parametrize("names", [OldEsrgan.state_dict, middle_names, new_names], ids=["oldest", "middle", "newest"])
def test_all_generations_of_names_give_the_published_network(
    names: Callable[[OldEsrgan], Mapping[str, Tensor]], doublings: int, tmp_path: Path
) -> None:
    published = OldEsrgan(doublings)

    network = loaded(written(tmp_path, names(published)))

    assert network.scale == 2**doublings
    assert network.shape.blocks == 2
    torch.testing.assert_close(network(pixels()), published(pixels()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "scale"), [(2, 2), (4, 1)])
def test_networks_that_read_squares_of_pixels_take_pictures_of_any_size(side: int, scale: int, tmp_path: Path) -> None:
    published = OldEsrgan(2, channels=3 * side**2)
    network = loaded(written(tmp_path, new_names(published)))
    even = pixels(8, 12)

    assert network.scale == scale
    torch.testing.assert_close(network(even), published(functional.pixel_unshuffle(even, side)), rtol=0, atol=1e-6)
    assert network(pixels(9, 7)).shape == (1, 3, 9 * scale, 7 * scale)


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    averaged, last = new_names(OldEsrgan(1, seed=1)), new_names(OldEsrgan(1, seed=2))
    both = {f"params.{name}": one for name, one in last.items()}
    both |= {f"params_ema.{name}": one for name, one in averaged.items()}

    network = loaded(written(tmp_path, both))

    assert torch.equal(network.conv_last.weight, averaged["conv_last.weight"])


def test_a_pickle_is_never_read_here(tmp_path: Path) -> None:
    path = tmp_path / "4x_Old.pth"
    torch.save(OldEsrgan(2).state_dict(), path)

    with pytest.raises(ModelUnusable, match="This is a pickle under a false name"):
        loaded(path)


def compact() -> dict[str, Tensor]:
    """Return names as `realesr-general-x4v3` has them."""
    return {"body.0.weight": torch.zeros(8, 3, 3, 3), "body.0.bias": torch.zeros(8), "body.1.weight": torch.zeros(8)}


def grey() -> dict[str, Tensor]:
    return new_names(OldEsrgan(1)) | {"conv_first.weight": torch.zeros(8, 1, 3, 3)}


def shrinking() -> dict[str, Tensor]:
    return new_names(OldEsrgan(1, channels=48))


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (compact(), "only ESRGAN and Real-ESRGAN networks"),
        (grey(), "for colour pictures"),
        (shrinking(), "would make pictures smaller"),
        ({"emb_params": torch.zeros(1, 768)}, "only ESRGAN"),
        (new_names(OldEsrgan(1)) | {"body.0.rdb1.conv1x1.weight": torch.zeros(8, 8, 1, 1)}, "do not fit"),
        (new_names(OldEsrgan(1)) | {"body.0.rdb1.conv2.weight": torch.zeros(4, 8, 3, 3)}, "do not fit"),
        (new_names(OldEsrgan(1)) | {"conv_hr.bias": torch.full((8,), torch.nan)}, "not numbers"),
        (new_names(OldEsrgan(1)) | {"conv_hr.bias": torch.ones(8, dtype=torch.int8)}, "do not fit"),
    ],
    ids=["compact", "grey", "shrinking", "embedding", "plus", "wrong size", "not a number", "whole numbers"],
)
def test_another_network_is_refused_with_a_sentence(weights: dict[str, Tensor], words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=words) as caught:
        loaded(written(tmp_path, weights))

    assert str(caught.value).startswith("The upscaler `sharp` ")


def test_a_network_with_a_missing_layer_is_refused(tmp_path: Path) -> None:
    weights = new_names(OldEsrgan(1))
    del weights["conv_body.weight"]

    with pytest.raises(ModelUnusable, match="do not fit"):
        loaded(written(tmp_path, weights))


@pytest.mark.parametrize(
    ("suffix", "content", "words"),
    [
        (".safetensors", b"<html>log in</html>", "This is a web page"),
        (".safetensors", b"", "The file is empty"),
    ],
)
def test_a_damaged_file_is_refused_with_a_sentence(suffix: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)

    with pytest.raises(ModelUnusable, match=words):
        loaded(path)


def test_a_file_that_is_gone_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="can not be read"):
        loaded(tmp_path / "gone.safetensors")
