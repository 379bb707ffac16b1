"""LoRA files: whatever is wrong with one is told before a weight is touched."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from easel.catalog import Base
from easel.errors import ModelUnusable
from tests.fakes.engine_jobs import tiny
from tests.fakes.trained_loras import pieces, train
from worker.networks.lora_file import LoraFile, read_lora

LAYER = "lora_unet_mid_block_attentions_0_proj_in"


def good() -> dict[str, Tensor]:
    return {f"{LAYER}.{name}": one for name, one in pieces(train(nn.Linear(32, 32), "lora")).items()}


def written(folder: Path, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> LoraFile:
    save_file(weights, folder / "style.safetensors", metadata)
    return read_lora(folder / "style.safetensors", "style")


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("lora_up.weight", torch.full((32, 4), torch.nan), "not numbers"),
        ("lora_down.weight", torch.full((4, 32), torch.inf, dtype=torch.float16), "not numbers"),
        ("alpha", torch.tensor(torch.nan), "not numbers"),
        ("lora_up.weight", torch.ones(32, 4, dtype=torch.int8), "can not be added"),
        ("lora_up.weight", torch.ones(32, 5), "does not match itself"),
        ("lora_up.weight", torch.ones(32), "does not match itself"),
        ("lora_mid.weight", torch.ones(3, 3, 3, 3), "does not match itself"),
        ("alpha", torch.ones(2), "does not match itself"),
        ("dora_scale", torch.full((32, 1), torch.nan), "not numbers"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(tmp_path: Path, name: str, wrong: Tensor, told: str) -> None:
    weights = good() | {f"{LAYER}.{name}": wrong}

    with pytest.raises(ModelUnusable, match=f"^The LoRA `style` can not be used: .*{told}"):
        written(tmp_path, weights)


@pytest.mark.parametrize(
    "names",
    [
        ("lora_up.weight",),
        ("hada_w1_a", "hada_w1_b", "hada_w2_a"),
        ("lokr_w1",),
        ("a1.weight", "a2.weight"),
        ("on_input",),
    ],
)
def test_half_of_what_belongs_together_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ModelUnusable, match="does not match itself"):
        written(tmp_path, {f"{LAYER}.{name}": torch.ones(4, 4) for name in names})


def test_a_file_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="nothing in it changes a weight"):
        written(tmp_path, {"decoder.conv_in.weight": torch.ones(4, 4), f"{LAYER}.alpha": torch.tensor(1.0)})


def test_what_has_no_known_name_is_counted(tmp_path: Path) -> None:
    lora = written(tmp_path, good() | {"bundle_emb.word.string_to_param": torch.ones(2, 768), "x.y": torch.ones(1)})

    assert lora.unread == 2
    assert len(lora.lessons) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_narrow_numbers_are_calculated_with_in_full(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {name: one.to(dtype) for name, one in good().items()}
    wide = {name: one.float() for name, one in weights.items()}
    nothing = torch.zeros(32, 32)

    narrow, full = (written(tmp_path, one).lessons[0].weight for one in (weights, wide))

    assert narrow is not None
    assert full is not None
    assert torch.equal(narrow.of(nothing), full.of(nothing))


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 1.0),
        ({"unet.lora_alpha": 8}, 2.0),
        ({"unet.lora_alpha": 8, "unet.use_rslora": True}, 4.0),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 1}}, 0.25),
        ({"text_encoder.lora_alpha": 8}, 1.0),
        ([], 1.0),
    ],
)
def test_diffusers_files_are_scaled_by_their_metadata(tmp_path: Path, config: object, scale: float) -> None:
    up, down = torch.ones(32, 4), torch.ones(4, 32)
    block = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    weights = {f"{block}.lora_A.weight": down, f"{block}.lora_B.weight": up}

    lora = written(tmp_path, weights, {"lora_adapter_metadata": json.dumps(config)})

    change = lora.lessons[0].weight
    assert change is not None
    assert torch.equal(change.of(torch.zeros(32, 32)), torch.full((32, 32), 4 * scale))


def test_a_file_for_another_shape_or_other_parts_does_not_fit(tmp_path: Path) -> None:
    checkpoint = tiny(Base.SD15)
    narrow = {f"{LAYER}.diff": torch.ones(8, 8)}
    elsewhere = {"lora_te2_text_model_encoder_layers_0_mlp_fc1.diff": torch.ones(8, 8)}

    for weights, told in ((narrow, "does not fit this one"), (elsewhere, "nothing in it means a part")):
        with pytest.raises(ModelUnusable, match=f"The LoRA `style` was made for another kind of checkpoint: .*{told}"):
            checkpoint.wardrobe.fit(written(tmp_path, weights), checkpoint)


def test_a_checkpoint_that_repaints_takes_all_but_the_entrance(tmp_path: Path) -> None:
    checkpoint = tiny(Base.SD15, in_channels=9)
    lora = written(tmp_path, good() | {"lora_unet_conv_in.diff": torch.ones(16, 4, 3, 3)})

    fitting = checkpoint.wardrobe.fit(lora, checkpoint)

    assert (len(fitting.changes["unet"]), fitting.foreign) == (1, 1)
