"""Single files in every form that is met: the same checkpoint as the folder, or one sentence about what is wrong."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable
from easel.identify.file import identify
from tests.fakes.single_files import (
    TEXT,
    UNET,
    VAE,
    Weights,
    averaged,
    changed,
    in_precision,
    old_text_names,
    one_value,
    save_single,
    unprefixed,
    with_averages,
    with_strays,
    without,
)
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from worker.checkpoints.build import build
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.keys import ONLY_EMA
from worker.checkpoints.load import load_card, load_folder, read_card
from worker.checkpoints.parts import Parts
from worker.engine.samplers import make_scheduler

CPU = torch.device("cpu")
DEMO = Path(__file__).parents[3] / "models" / "Stable-diffusion" / "easel-demo"
IN_CONV = f"{UNET}input_blocks.0.0.weight"

KINDS: dict[str, dict[str, Any]] = {
    "sd15": {"base": Base.SD15},
    "sd15 inpainting": {"base": Base.SD15, "in_channels": 9},
    "sd2": {"base": Base.SD2},
    "sd2 v": {"base": Base.SD2, "prediction": "v_prediction"},
    "sdxl": {"base": Base.SDXL},
    "sdxl v": {"base": Base.SDXL, "prediction": "v_prediction"},
    "sdxl inpainting": {"base": Base.SDXL, "in_channels": 9},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each kind as a single file, written when it is first asked for."""
    folder = tmp_path_factory.mktemp("files")

    def file(kind: str) -> Path:
        path = folder / f"{kind}.safetensors"
        return path if path.exists() else save_single(tiny_checkpoint(**KINDS[kind], seed=3), path)

    return file


def card(path: Path, **changes: Any) -> ModelCard:
    """Return the card that the library would make of the file."""
    seen = identify(path)
    told = {"base": seen.base, "prediction_type": seen.prediction_type, "zero_snr": seen.zero_snr}
    return ModelCard(name="tiny", kind=ModelKind.CHECKPOINT, path="x", root="0", **told | changes)


def load(path: Path, *, dtype: torch.dtype = torch.float32, **changes: Any) -> Checkpoint:
    return load_card(card(path, **changes), path, CPU, dtype)


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert one.base is other.base
    assert len(one.modules) == len(other.modules)
    for mine, theirs in zip(one.modules, other.modules, strict=True):
        assert_same_weights(mine, theirs)


def assert_same_weights(mine: nn.Module, theirs: nn.Module) -> None:
    weights, others = mine.state_dict(), theirs.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@torch.inference_mode()
def picture(checkpoint: Checkpoint) -> torch.Tensor:
    """Return what two steps of Euler make of one prompt, all modules having their part in it."""
    for module in checkpoint.modules:
        for weight in module.parameters():
            # Mapped from a file they lie at odd addresses, where the CPU adds in another order.
            weight.data = weight.clone()
    told: list[Any] = []
    for encoder, tokenizer in zip(checkpoint.text_encoders, checkpoint.tokenizers, strict=True):
        ids = tokenizer("a red cat", padding="max_length", return_tensors="pt").input_ids
        told.append(encoder(ids, output_hidden_states=True))
    added = {}
    if checkpoint.base is Base.SDXL:
        added = {"text_embeds": told[-1].text_embeds, "time_ids": torch.tensor([[64, 64, 0, 0, 64, 64]])}
    unet: Any = checkpoint.unet
    vae: Any = checkpoint.vae
    scheduler = make_scheduler("Euler", "Automatic", checkpoint.scheduler_config, 2)
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * scheduler.init_noise_sigma
    extra = torch.ones(1, unet.config.in_channels - 4, 8, 8)
    for time in scheduler.timesteps:
        seen = torch.cat([scheduler.scale_model_input(sample, time), extra], dim=1)
        embeds = torch.cat([one.hidden_states[-2] for one in told], dim=-1)
        answer = unet(seen, time, encoder_hidden_states=embeds, added_cond_kwargs=added, return_dict=False)[0]
        sample = scheduler.step(answer, time, sample, return_dict=False)[0]
    pixels: torch.Tensor = vae.decode(sample / vae.config.scaling_factor, return_dict=False)[0]
    assert torch.isfinite(pixels).all()
    return pixels


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_file_is_the_checkpoint_that_was_written(files: Callable[[str], Path], kind: str) -> None:
    written = tiny_checkpoint(**KINDS[kind], seed=3)

    single = load(files(kind))

    assert_same(single, written)
    assert single.scheduler_config["prediction_type"] == written.scheduler_config["prediction_type"]
    for mine, theirs in zip(single.tokenizers, written.tokenizers, strict=True):
        assert mine("a photo of a café, 8k!!").input_ids == theirs("a photo of a café, 8k!!").input_ids
        assert mine.pad_token_id == theirs.pad_token_id
    assert torch.equal(picture(single), picture(written))


@pytest.mark.parametrize("kind", ["sd15", "sd2", "sdxl"])
def test_the_folder_and_what_diffusers_reads_from_the_file_are_the_very_same(
    files: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    save_folder(tiny_checkpoint(**KINDS[kind], seed=3), tmp_path)
    told = {"config": str(tmp_path), "local_files_only": True}

    mine = load(files(kind))

    assert_same(mine, load_folder(tmp_path, name="tiny", base=KINDS[kind]["base"], device=CPU, dtype=torch.float32))
    unet: Any = UNet2DConditionModel.from_single_file(str(files(kind)), subfolder="unet", **told)
    vae: Any = AutoencoderKL.from_single_file(str(files(kind)), subfolder="vae", **told)
    assert_same_weights(mine.modules[0], unet)
    assert_same_weights(mine.modules[1], vae)


def _renumbered(weights: Weights) -> Weights:
    """Give the text encoder the 23 layers that it is known by when the last is left out already."""
    head = f"{TEXT}model.transformer.resblocks."
    layers = {
        name.replace(f"{head}3.", f"{head}{number}."): one.clone()
        for name, one in weights.items()
        if name.startswith(f"{head}3.")
        for number in range(4, 23)
    }
    return {name: one for name, one in weights.items() if not name.startswith(f"{head}4.")} | layers


ODD: dict[str, tuple[str, Callable[[Weights], Weights]]] = {
    "text names of 2022": ("sd15", old_text_names),
    "no prefix": ("sd15", unprefixed),
    "averages only": ("sd15", averaged),
    "averages of sdxl only": ("sdxl", averaged),
    "averages beside": ("sd15", with_averages),
    "strays": ("sd15", with_strays),
    "another prefix of the VAE": (
        "sd15",
        lambda weights: {name.replace(VAE, "vae."): one for name, one in weights.items()},
    ),
    "no last layer": ("sd2", _renumbered),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_files_are_the_same_checkpoint(files: Callable[[str], Path], odd: str, tmp_path: Path) -> None:
    kind, change = ODD[odd]

    loaded = load(changed(files(kind), tmp_path / "odd.safetensors", change))

    plain = load(files(kind))
    for mine, theirs in zip(loaded.modules[:2], plain.modules[:2], strict=True):
        assert_same_weights(mine, theirs)
    layers = 23 if odd == "no last layer" else 4
    encoder: Any = loaded.text_encoders[0]
    assert encoder.config.num_hidden_layers == layers
    if layers == 4:
        assert_same(loaded, plain)


def test_that_only_averages_were_there_is_said(files: Callable[[str], Path], tmp_path: Path) -> None:
    only = load(changed(files("sd15"), tmp_path / "only.safetensors", averaged))
    both = load(changed(files("sd15"), tmp_path / "both.safetensors", with_averages))

    assert only.notes == (ONLY_EMA,)
    assert both.notes == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_every_precision_is_read_as_the_numbers_that_it_holds(
    files: Callable[[str], Path], dtype: torch.dtype, tmp_path: Path
) -> None:
    file = changed(files("sd15"), tmp_path / "small.safetensors", in_precision(dtype))

    loaded = load(file)

    wanted = load_file(file)[IN_CONV].float()
    assert torch.equal(loaded.modules[0].state_dict()["conv_in.weight"], wanted)
    assert {weight.dtype for module in loaded.modules for weight in module.parameters()} == {torch.float32}


def test_zero_snr_is_told_by_the_file_the_metadata_or_the_card(files: Callable[[str], Path], tmp_path: Path) -> None:
    rescaled = tiny_checkpoint(Base.SDXL, prediction="v_prediction")
    rescaled.scheduler_config["rescale_betas_zero_snr"] = True  # type: ignore[index] - a plain dict
    marked = save_single(rescaled, tmp_path / "marked.safetensors")

    by_file = read_card(card(marked, prediction_type="", zero_snr=False), marked)
    by_card = read_card(card(files("sd2 v"), zero_snr=True), files("sd2 v"))
    plain = read_card(card(files("sd2 v")), files("sd2 v"))

    assert {"v_pred", "ztsnr"} <= load_file(marked).keys()
    for one in (by_file, by_card):
        assert one.scheduler_config["rescale_betas_zero_snr"] is True
        assert one.scheduler_config["timestep_spacing"] == "trailing"
        assert one.scheduler_config["prediction_type"] == "v_prediction"
    assert "rescale_betas_zero_snr" not in plain.scheduler_config


def test_the_card_goes_before_the_file_in_what_is_predicted(files: Callable[[str], Path]) -> None:
    assert load(files("sd15"), prediction_type="v_prediction").scheduler_config["prediction_type"] == "v_prediction"


def test_the_demo_survives_being_one_file_with_its_own_words(tmp_path: Path) -> None:
    folder = load_folder(DEMO, name="demo", base=Base.SD15, device=CPU, dtype=torch.float32)

    single = load(save_single(folder, tmp_path / "demo.safetensors"))

    assert_same(single, folder)
    vae: Any = single.vae
    assert vae.config.scaling_factor == pytest.approx(0.86317)
    assert vae.config.norm_num_groups == 8
    assert single.tokenizers[0].get_vocab() == folder.tokenizers[0].get_vocab()
    assert single.tokenizers[0]("a red cat").input_ids == folder.tokenizers[0]("a red cat").input_ids
    assert single.scheduler_config["prediction_type"] == "v_prediction"
    assert torch.equal(picture(single), picture(folder))


def test_a_file_without_vae_is_loaded_and_takes_no_memory_for_it(files: Callable[[str], Path], tmp_path: Path) -> None:
    loaded = load(changed(files("sd15"), tmp_path / "bare.safetensors", without(VAE)))

    assert not loaded.has_vae
    assert loaded.nbytes < load(files("sd15")).nbytes
    assert_same_weights(loaded.modules[0], load(files("sd15")).modules[0])


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_missing_text_encoder_is_borrowed_and_that_is_said(
    files: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    bare = changed(files(kind), tmp_path / "bare.safetensors", without(TEXT if kind == "sd15" else "conditioner."))
    whole = load(files(kind))

    def lend(card: ModelCard, base: Base, width: int) -> Parts:
        assert width == sum(encoder.config.hidden_size for encoder in whole.text_encoders)
        return read_card(ModelCard(name="whole", kind=ModelKind.CHECKPOINT, base=base), files(kind))

    assert not identify(bare, ModelKind.CHECKPOINT).problem
    parts = read_card(ModelCard(name="bare", kind=ModelKind.CHECKPOINT), bare, lend)
    assert parts.notes == ("Its text encoder is that of whole.",)
    assert_same(build(parts, CPU, torch.float32), whole)


REFUSED: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "no text encoder": (without(TEXT), "lacks its text encoder, and no other sd15 checkpoint lies here"),
    "no unet": (without(UNET), "is a VAE"),
    "a missing weight": (without(f"{UNET}out.2.bias"), "1 weights of its unet are missing, `conv_out.bias` among them"),
    "a missing block": (without(f"{UNET}input_blocks.4."), "its unet is damaged or of another kind"),
    "a weight too many": (
        lambda weights: weights | {f"{UNET}input_blocks.1.0.strange.weight": torch.zeros(1)},
        "its unet is damaged or of another kind",
    ),
    "another shape": (
        lambda weights: weights | {f"{UNET}time_embed.0.bias": torch.zeros(3)},
        "its unet is damaged or of another kind",
    ),
    "whole numbers": (
        lambda weights: weights | {f"{UNET}time_embed.0.bias": torch.zeros(64, dtype=torch.int8)},
        "its unet is damaged or of another kind",
    ),
    "scaled fp8": (
        lambda weights: weights | {f"{UNET}time_embed.0.scale_weight": torch.ones(1)},
        "is in scaled fp8",
    ),
    "not a number": (
        lambda weights: one_value(weights, f"{UNET}middle_block.1.proj_in.weight", float("nan")),
        "its unet holds values that are not numbers",
    ),
    "infinity in the VAE": (
        lambda weights: one_value(weights, f"{VAE}decoder.conv_in.weight", float("inf")),
        "its vae holds values that are not numbers",
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_can_not_be_used_is_refused_in_a_sentence(
    files: Callable[[str], Path], wrong: str, tmp_path: Path
) -> None:
    change, words = REFUSED[wrong]
    file = changed(files("sd15"), tmp_path / "wrong.safetensors", change)

    with pytest.raises(ModelUnusable, match=words) as caught:
        load(file)

    assert "`tiny`" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"<!DOCTYPE html><html>", "This is a web page"),
        (b"\x80\x02}q\x00.", "a pickle under a false name"),
        (None, "was the download cut off"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_the_reason(
    files: Callable[[str], Path], content: bytes | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(files("sd15").read_bytes()[:-1000] if content is None else content)

    with pytest.raises(ModelUnusable, match=words):
        load(file)


@pytest.mark.parametrize(
    "said",
    [
        '{"unet":{"attention_head_dim":0}}',
        '{"unet":{"block_out_channels":[9999999]}}',
        '{"unet":[]}',
        '{"scheduler":{"trained_betas":[1]}}',
        '{"tokenizers":[{"words":["a"],"merges":[]}]}',
        "{",
    ],
)
def test_a_file_that_says_nonsense_of_itself_is_refused(
    files: Callable[[str], Path], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    save_file(load_file(files("sd15")), file, metadata={"easel.config": said})

    with pytest.raises(ModelUnusable, match=r"its (description|unet) is damaged or of another kind"):
        load(file)


def test_a_checkpoint_never_writes_to_its_file_nor_to_another_copy(files: Callable[[str], Path]) -> None:
    file = files("sd15")
    before = file.read_bytes()
    parts = read_card(card(file), file)
    loaded = build(parts, CPU, torch.float32)

    for module in loaded.modules:
        for weight in module.parameters():
            weight.fill_(7)

    assert file.read_bytes() == before
    assert_same(build(parts, CPU, torch.float32), tiny_checkpoint(**KINDS["sd15"], seed=3))


def test_a_file_that_is_replaced_leaves_the_loaded_checkpoint_as_it_was(
    files: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(files("sd15").read_bytes())
    loaded, plain = load(path), load(files("sd15"))

    save_single(tiny_checkpoint(Base.SD15, seed=9), tmp_path / "new.safetensors")
    (tmp_path / "new.safetensors").replace(path)

    assert_same(loaded, plain)


def test_loading_a_single_file_never_reaches_for_the_network(
    files: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = files("sdxl")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert load(file).name == "tiny"
    assert capfd.readouterr() == ("", "")
