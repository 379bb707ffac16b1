"""ControlNets from the disk, in every layout they are published in."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file
from torch import Tensor

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable
from tests.fakes.engine_jobs import tiny
from tests.fakes.tiny_controlnets import published, tiny_controlnet
from worker.control.controlnet import ControlNet, ControlNetCache, load_controlnet

BASES = list(Base)


@functools.cache
def trained(base: Base = Base.SD15) -> Any:
    return tiny_controlnet(tiny(base))


def written(folder: Path, weights: Mapping[str, Tensor]) -> Path:
    path = folder / "canny.safetensors"
    save_file({name: weight.clone() for name, weight in weights.items()}, path)
    return path


def loaded(path: Path, base: Base = Base.SD15, **options: Any) -> ControlNet:
    return load_controlnet(path, name="canny", checkpoint=tiny(base), **options)


def check_same(controlnet: ControlNet, model: Any) -> None:
    ours, theirs = controlnet.model.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    torch.testing.assert_close(words(controlnet.model), words(model), rtol=1e-4, atol=1e-5)


def words(model: Any) -> list[Tensor]:
    """Return what the ControlNet says of some noise."""
    random = torch.Generator().manual_seed(1)
    width = model.config.projection_class_embeddings_input_dim
    added = None
    if width:
        time_ids = torch.tensor([[64, 64, 0, 0, 64, 64]]).expand(2, -1)
        pooled = width - 6 * model.config.addition_time_embed_dim
        added = {"text_embeds": torch.randn(2, pooled, generator=random), "time_ids": time_ids}
    with torch.inference_mode():
        down, middle = model(
            torch.randn(2, 4, 8, 8, generator=random),
            torch.tensor([10.0, 500.0]),
            encoder_hidden_states=torch.randn(2, 77, model.config.cross_attention_dim, generator=random),
            controlnet_cond=torch.rand(2, 3, 64, 64, generator=random),
            added_cond_kwargs=added,
            return_dict=False,
        )
    return [*down, middle]


@pytest.mark.parametrize("prefix", ["control_model.", "", "model.control_model."])
@pytest.mark.parametrize("base", BASES)
def test_a_file_in_the_first_published_layout_is_understood(base: Base, prefix: str, tmp_path: Path) -> None:
    path = written(tmp_path, published(trained(base), prefix))

    controlnet = loaded(path, base)

    assert controlnet.base is base
    check_same(controlnet, trained(base))


@pytest.mark.parametrize("base", BASES)
def test_a_file_in_the_layout_of_diffusers_is_understood(base: Base, tmp_path: Path) -> None:
    check_same(loaded(written(tmp_path, trained(base).state_dict()), base), trained(base))


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("base", BASES)
def test_a_diffusers_folder_is_understood(base: Base, variant: str | None, tmp_path: Path) -> None:
    trained(base).save_pretrained(tmp_path, variant=variant)

    check_same(loaded(tmp_path, base), trained(base))


def test_a_folder_tells_what_no_shape_does(tmp_path: Path) -> None:
    trained().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"controlnet_conditioning_channel_order": "bgr"}))

    assert loaded(tmp_path).model.config.controlnet_conditioning_channel_order == "bgr"


def test_what_else_stands_in_a_file_is_left_out(tmp_path: Path) -> None:
    more = {"model.diffusion_model.conv.weight": torch.zeros(2), "cond_stage_model.x": torch.zeros(2)}

    check_same(loaded(written(tmp_path, published(trained()) | more)), trained())


def test_a_small_sdxl_controlnet_without_attention_is_understood(tmp_path: Path) -> None:
    # As the published controlnet-canny-sdxl-1.0-small: one block attends to nothing, and neither does its middle.
    options = dict(trained(Base.SDXL).config) | {
        "down_block_types": ("DownBlock2D",) * 3,
        "mid_block_type": "UNetMidBlock2D",
    }
    small: Any = ControlNetModel.from_config(options)

    check_same(loaded(written(tmp_path, small.state_dict()), Base.SDXL), small)


def test_a_lighter_sdxl_controlnet_is_understood(tmp_path: Path) -> None:
    # As the published controlnet-canny-sdxl-1.0-mid: attention without transformers, but in the middle.
    small: Any = ControlNetModel.from_config(
        dict(trained(Base.SDXL).config)
        | {
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            "transformer_layers_per_block": (0, 0, 1),
        }
    )

    check_same(loaded(written(tmp_path, small.state_dict()), Base.SDXL), small)


@pytest.mark.parametrize(
    ("made_for", "asked_with", "words"),
    [
        (Base.SDXL, Base.SD15, "`canny` is made for SDXL, but the checkpoint `tiny-sd15` is SD 1.5"),
        (Base.SD15, Base.SDXL, "`canny` is made for SD 1.5, but the checkpoint `tiny-sdxl` is SDXL"),
        (Base.SD2, Base.SD15, "`canny` is made for SD 2, but the checkpoint `tiny-sd15` is SD 1.5"),
        (Base.SD15, Base.SD2, "`canny` is made for SD 1.5, but the checkpoint `tiny-sd2` is SD 2"),
    ],
)
def test_the_wrong_base_is_told_with_both_names(made_for: Base, asked_with: Base, words: str, tmp_path: Path) -> None:
    path = written(tmp_path, published(trained(made_for)))

    with pytest.raises(ModelUnusable, match=words):
        loaded(path, asked_with)


def test_the_same_base_in_another_size_is_told(tmp_path: Path) -> None:
    other: Any = ControlNetModel.from_config(dict(trained().config) | {"cross_attention_dim": 48})

    with pytest.raises(ModelUnusable, match=r"both SD 1\.5, but of different sizes"):
        loaded(written(tmp_path, other.state_dict()))


def without(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: weight for key, weight in weights.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one | {"lora_controlnet": torch.zeros(0)}, "Control-LoRA"),
        (lambda one: one | {"task_embedding": torch.zeros(6, 4)}, "union of several"),
        (lambda one: one | {"difference": torch.zeros(0)}, "only the difference"),
        (lambda one: {"emb_params": torch.zeros(1, 768)}, "no ControlNet for Stable Diffusion"),
        (lambda one: without(one, "down_blocks.1.resnets.0.norm1.weight"), "do not fit"),
        (lambda one: without(one, "down_blocks.1.resnets.0.conv1.weight"), "not known here"),
        (lambda one: one | {"extra.weight": torch.zeros(2)}, "do not fit"),
        (lambda one: one | {"conv_in.bias": torch.full((16,), torch.nan)}, "not numbers"),
        (lambda one: one | {"conv_in.weight": torch.zeros(16, 9, 3, 3)}, "does not follow colour pictures"),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_a_sentence(change: Any, words: str, tmp_path: Path) -> None:
    path = written(tmp_path, change(trained().state_dict()))

    with pytest.raises(ModelUnusable, match=words) as caught:
        loaded(path)

    assert str(caught.value).startswith("The ControlNet `canny` ")


def test_names_that_lie_about_their_places_are_refused(tmp_path: Path) -> None:
    lies = published(trained()) | {
        "control_model.input_blocks.0.0.op.weight": torch.zeros(1),
        f"control_model.input_blocks.{'9' * 5000}.0.op.weight": torch.zeros(1),
    }

    with pytest.raises(ModelUnusable, match="not known here"):
        loaded(written(tmp_path, lies))


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    tiny().unet.save_pretrained(tmp_path)

    with pytest.raises(ModelUnusable, match="folder of another kind: `UNet2DConditionModel`"):
        loaded(tmp_path)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "diffusion_pytorch_model.bin").touch()

    with pytest.raises(ModelUnusable, match=r"no diffusion_pytorch_model\.safetensors"):
        loaded(tmp_path)


def card(name: str) -> ModelCard:
    return ModelCard(name=name, kind=ModelKind.CONTROLNET, path=f"{name}.safetensors", root="0")


def test_controlnets_stay_warm_and_the_oldest_leaves(tmp_path: Path) -> None:
    for name in "abc":
        save_file(published(trained()), tmp_path / f"{name}.safetensors")
    cache = ControlNetCache(lambda one: tmp_path / one.path, most=2)

    a, b = cache.get(card("a"), tiny()), cache.get(card("b"), tiny())
    assert cache.get(card("a"), tiny()) is a
    cache.get(card("c"), tiny())

    assert cache.get(card("a"), tiny()) is a
    assert cache.get(card("b"), tiny()) is not b


def test_a_warm_controlnet_is_not_lent_to_another_base(tmp_path: Path) -> None:
    save_file(published(trained()), tmp_path / "a.safetensors")
    cache = ControlNetCache(lambda one: tmp_path / one.path)
    cache.get(card("a"), tiny())

    with pytest.raises(ModelUnusable, match=r"made for SD 1\.5, but the checkpoint `tiny-sdxl` is SDXL"):
        cache.get(card("a"), tiny(Base.SDXL))
