import json
import shutil
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from easel.catalog import Base
from easel.errors import ModelUnusable
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.load import folder_base, load_folder, preferred_dtype

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
DEMO = Path(__file__).parents[3] / "models" / "Stable-diffusion" / "easel-demo"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tiny_checkpoint(Base.SD15), tmp_path_factory.mktemp("sd15"))


@pytest.fixture
def folder(sd15: Path, tmp_path: Path) -> Path:
    """A folder to be spoiled."""
    return Path(shutil.copytree(sd15, tmp_path / "folder"))


def load(path: Path, base: Base = Base.SD15, **options: Any) -> Checkpoint:
    return load_folder(path, name="tiny", base=base, device=CPU, **{"dtype": torch.float32, **options})


def change_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(path)
    change(weights)
    # Written anew, as the file may still be mapped into memory.
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("base", list(Base))
def test_a_folder_comes_back_as_it_was_saved(base: Base, tmp_path: Path) -> None:
    saved = tiny_checkpoint(base, prediction="v_prediction", seed=5)
    save_folder(saved, tmp_path)

    loaded = load(tmp_path, folder_base(tmp_path))

    assert (loaded.name, loaded.base, loaded.dtype) == ("tiny", base, torch.float32)
    assert loaded.scheduler_config["prediction_type"] == "v_prediction"
    assert [len(one) for one in loaded.tokenizers] == [49408] * len(saved.tokenizers)
    assert [one.pad_token_id for one in loaded.tokenizers] == [one.pad_token_id for one in saved.tokenizers]
    for before, after in zip(saved.modules, loaded.modules, strict=True):
        weights, others = before.state_dict(), after.state_dict()
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_loaded_checkpoint_is_ready_to_render_and_not_to_be_trained(sd15: Path) -> None:
    loaded = load(sd15)

    for module in loaded.modules:
        assert not module.training
        assert not any(weight.requires_grad for weight in module.parameters())


def test_an_inpainting_checkpoint_keeps_its_nine_channels(tmp_path: Path) -> None:
    save_folder(tiny_checkpoint(Base.SD15, in_channels=9), tmp_path)

    unet: Any = load(tmp_path).unet

    assert unet.config.in_channels == 9


def test_the_demo_checkpoint_loads_in_single_precision_with_its_own_tokenizer() -> None:
    loaded = load(DEMO, folder_base(DEMO))

    encoder: Any = loaded.text_encoders[0]
    assert loaded.base is Base.SD15
    assert {weight.dtype for module in loaded.modules for weight in module.parameters()} == {torch.float32}
    assert len(loaded.tokenizers[0]) == 10_514
    assert encoder.eos_token_id == loaded.tokenizers[0].eos_token_id == 10_513


def test_weights_can_be_held_in_half_precision(sd15: Path) -> None:
    assert load(sd15, dtype=torch.float16).dtype is torch.float16


def test_the_cpu_holds_checkpoints_in_single_precision() -> None:
    assert preferred_dtype(CPU) is torch.float32


def test_loading_never_reaches_for_the_network(sd15: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert load(sd15).name == "tiny"


def test_loading_prints_nothing(sd15: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(sd15)

    assert capfd.readouterr() == ("", "")


def test_a_folder_without_tokenizer_gets_that_of_clip(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")

    assert len(load(folder).tokenizers[0]) == 49_408


def test_a_folder_without_scheduler_gets_what_stable_diffusion_was_trained_with(folder: Path) -> None:
    shutil.rmtree(folder / "scheduler")

    config = load(folder).scheduler_config

    assert (config["beta_start"], config["beta_schedule"], config["prediction_type"]) == (
        0.00085,
        "scaled_linear",
        "epsilon",
    )


def test_weights_named_fp16_are_found(folder: Path) -> None:
    for part in (UNET, VAE, TEXT):
        weights = folder / part
        weights.rename(weights.with_suffix(".fp16.safetensors"))

    assert load(folder).name == "tiny"


def test_the_pooled_vector_comes_from_the_first_end_word(folder: Path) -> None:
    change_json(folder / "text_encoder" / "config.json", eos_token_id=2)

    encoder: Any = load(folder).text_encoders[0]

    assert encoder.eos_token_id == 49_407


def test_pickled_weights_are_refused(folder: Path) -> None:
    torch.save(load_file(folder / UNET), folder / "unet" / "diffusion_pytorch_model.bin")
    (folder / UNET).unlink()

    with pytest.raises(ModelUnusable, match=r"`tiny` has its unet as `\.bin` only, a format that can run code"):
        load(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)

    with pytest.raises(ModelUnusable, match=f"has no weights for its {part}"):
        load(folder)


@pytest.mark.parametrize(("file", "part"), [(UNET, "unet"), (VAE, "vae"), (TEXT, "text_encoder")])
def test_a_missing_weight_is_never_made_up(folder: Path, file: str, part: str) -> None:
    lost = next(iter(load_file(folder / file)))
    change_weights(folder / file, lambda weights: weights.pop(lost))

    with pytest.raises(ModelUnusable, match=f"1 weights of its {part} are missing, `{lost}` among them"):
        load(folder)


@pytest.mark.parametrize(
    ("file", "part", "value"),
    [(UNET, "unet", float("nan")), (VAE, "vae", float("inf")), (TEXT, "text_encoder", float("-inf"))],
)
def test_weights_that_are_not_numbers_are_refused(folder: Path, file: str, part: str, value: float) -> None:
    change_weights(folder / file, lambda weights: next(iter(weights.values())).view(-1)[0].fill_(value))

    with pytest.raises(ModelUnusable, match=f"its {part} holds values that are not numbers"):
        load(folder)


def _cut(file: str, length: int, folder: Path) -> None:
    (folder / file).write_bytes((folder / file).read_bytes()[:length])


def _reshape(file: str, folder: Path) -> None:
    change_weights(folder / file, lambda weights: weights.update({next(iter(weights)): torch.zeros(3, 3)}))


@pytest.mark.parametrize(
    "spoil",
    [
        partial(_cut, UNET, 100_000),
        partial(_cut, VAE, 5),
        partial(_cut, TEXT, 100_000),
        partial(_cut, "unet/config.json", 10),
        partial(_cut, "text_encoder/config.json", 0),
        partial(_cut, "scheduler/scheduler_config.json", 10),
        partial(_reshape, UNET),
        partial(_reshape, TEXT),
        lambda folder: change_json(folder / "unet/config.json", block_out_channels=3),
        lambda folder: change_json(folder / "unet/config.json", down_block_types=["os.system"] * 4),
        lambda folder: (folder / "vae/config.json").unlink(),
        lambda folder: (folder / "scheduler/scheduler_config.json").write_text("[]"),
        partial(_cut, "tokenizer/vocab.json", 1000),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(folder: Path, spoil: Callable[[Path], object]) -> None:
    spoil(folder)

    with pytest.raises(
        ModelUnusable, match=r"`tiny` can not be loaded: its \w+ is damaged or of another kind"
    ) as caught:
        load(folder)

    assert str(folder) not in str(caught.value)


def test_an_unknown_kind_of_unet_is_refused(tmp_path: Path) -> None:
    save_folder(tiny_checkpoint(Base.SD15, in_channels=8), tmp_path)

    with pytest.raises(ModelUnusable, match="takes 8 channels"):
        load(tmp_path)


def test_parts_of_two_checkpoints_are_refused(folder: Path, tmp_path: Path) -> None:
    save_folder(tiny_checkpoint(Base.SD2), tmp_path / "sd2")
    shutil.rmtree(folder / "text_encoder")
    shutil.copytree(tmp_path / "sd2" / "text_encoder", folder / "text_encoder")

    with pytest.raises(ModelUnusable, match="its unet was not made for its text encoders"):
        load(folder)


def test_a_tokenizer_with_more_words_than_the_encoder_is_refused(folder: Path) -> None:
    change_weights(
        folder / TEXT,
        lambda weights: weights.update(
            {name: weight[:100].clone() for name, weight in weights.items() if "token_embedding" in name}
        ),
    )
    change_json(folder / "text_encoder" / "config.json", vocab_size=100)

    with pytest.raises(ModelUnusable, match="its tokenizer knows more words than its encoder"):
        load(folder)


def test_a_folder_of_another_base_is_refused(folder: Path) -> None:
    with pytest.raises(ModelUnusable, match="has no weights for its text_encoder_2"):
        load(folder, Base.SDXL)
