"""Pouring one checkpoint's weights into another one's modules."""

from pathlib import Path
from typing import Any

import pytest
import torch

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable
from tests.fakes.single_files import changed as changed_file
from tests.fakes.single_files import in_precision, one_value, save_single
from tests.fakes.tiny_models import tiny_checkpoint
from worker.checkpoints.build import build, pour, pourable
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.parts import Parts
from worker.checkpoints.single_file import read_file
from worker.checkpoints.writing import parts_of

CPU = torch.device("cpu")
CARD = ModelCard(name="tiny", kind=ModelKind.CHECKPOINT)


def tiny(**options: Any) -> Parts:
    return parts_of(tiny_checkpoint(**{"base": Base.SD15} | options))


def weights_of(checkpoint: Checkpoint) -> list[torch.Tensor]:
    return [weight for module in checkpoint.modules for weight in module.parameters()]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_single(tiny_checkpoint(Base.SD15, seed=1), tmp_path_factory.mktemp("build") / "one.safetensors")


def test_what_is_poured_is_what_would_have_been_built(file: Path) -> None:
    skeleton = build(tiny(seed=2), CPU, torch.float32)
    wanted = build(read_file(file, CARD), CPU, torch.float32)

    poured = pour(read_file(file, CARD), skeleton)

    assert poured is not skeleton
    assert poured.modules == skeleton.modules
    assert all(torch.equal(*pair) for pair in zip(weights_of(poured), weights_of(wanted), strict=True))
    assert not any(weight.requires_grad for weight in weights_of(poured))


def test_in_another_precision_the_very_same_memory_is_filled(file: Path, tmp_path: Path) -> None:
    half = changed_file(file, tmp_path / "half.safetensors", in_precision(torch.float16))
    skeleton = build(tiny(seed=2), CPU, torch.float32)
    places = [weight.data_ptr() for weight in weights_of(skeleton)]

    poured = pour(read_file(half, CARD), skeleton)

    assert [weight.data_ptr() for weight in weights_of(poured)] == places
    assert all(weight.dtype is torch.float32 for weight in weights_of(poured))
    wanted = build(read_file(half, CARD), CPU, torch.float32)
    assert all(torch.equal(*pair) for pair in zip(weights_of(poured), weights_of(wanted), strict=True))


def test_a_vae_that_went_on_in_full_precision_is_back_in_half(file: Path) -> None:
    skeleton = build(tiny(seed=2), CPU, torch.float16)
    vae: Any = skeleton.vae
    vae.to(torch.float32)

    poured = pour(read_file(file, CARD), skeleton)

    assert {weight.dtype for weight in weights_of(poured)} == {torch.float16}


def test_parts_outlive_what_is_done_to_a_checkpoint_made_of_them(file: Path) -> None:
    parts = read_file(file, CARD)
    first = build(parts, CPU, torch.float32)
    before = [weight.clone() for weight in weights_of(first)]

    for weight in weights_of(first):
        weight.zero_()
    pour(tiny(seed=2), first)

    assert all(torch.equal(*pair) for pair in zip(weights_of(build(parts, CPU, torch.float32)), before, strict=True))


@pytest.mark.parametrize(
    "options", [{"base": Base.SD2}, {"base": Base.SDXL}, {"in_channels": 9}], ids=["sd2", "sdxl", "inpainting"]
)
def test_only_modules_of_the_same_shape_are_poured_into(options: dict[str, Any]) -> None:
    skeleton = tiny_checkpoint(Base.SD15)

    assert pourable(tiny(seed=4), skeleton)
    assert not pourable(tiny(**options), skeleton)
    with pytest.raises(ValueError, match="another shape"):
        pour(tiny(**options), skeleton)


def test_what_is_poured_is_checked_too(file: Path, tmp_path: Path) -> None:
    name = "model.diffusion_model.out.2.weight"
    wrong = changed_file(file, tmp_path / "wrong.safetensors", lambda one: one_value(one, name, float("nan")))

    with pytest.raises(ModelUnusable, match="its unet holds values that are not numbers"):
        pour(read_file(wrong, CARD), tiny_checkpoint(Base.SD15))


def test_a_number_too_large_for_the_precision_is_found(file: Path, tmp_path: Path) -> None:
    name = "model.diffusion_model.out.2.weight"
    large = changed_file(file, tmp_path / "large.safetensors", lambda one: one_value(one, name, 1e6))

    build(read_file(large, CARD), CPU, torch.float32)
    with pytest.raises(ModelUnusable, match="its unet holds values that are not numbers"):
        build(read_file(large, CARD), CPU, torch.float16)
