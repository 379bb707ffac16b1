"""New checkpoints of old ones: what every weight becomes, and that the file tells of it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from easel.catalog import Base, ModelKind
from easel.identify.file import identify
from easel.library import WatchedLibrary
from easel.settings import load_settings
from tests.fakes.tiny_models import tiny_checkpoint
from worker.checkpoints.load import load_card
from worker.checkpoints.writing import parts_of, write_file
from worker.merging import main

CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"
TO_K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints of one base, an inpainting one, one of another base, and a LoRA."""
    models = tmp_path_factory.mktemp("models")
    folder = models / "Stable-diffusion"
    folder.mkdir()
    for name, seed in (("one", 1), ("two", 2), ("three", 3)):
        write_file(parts_of(tiny_checkpoint(Base.SD15, seed=seed)), folder / f"{name}.safetensors")
    write_file(parts_of(tiny_checkpoint(Base.SD15, in_channels=9, seed=4)), folder / "painter.safetensors")
    write_file(parts_of(tiny_checkpoint(Base.SD2)), folder / "stranger.safetensors")
    rows, columns = load_file(folder / "one.safetensors")[KEY].shape
    lora = {
        f"{TO_K}.lora_down.weight": torch.full((1, columns), 0.5),
        f"{TO_K}.lora_up.weight": torch.full((rows, 1), 0.5),
    }
    (models / "Lora").mkdir()
    save_file(lora, models / "Lora" / "bold.safetensors")
    return models


@pytest.fixture
def models(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EASEL_MODELS_DIR", f"{tmp_path / 'models'};{written}")
    monkeypatch.setenv("EASEL_MODELS_FILE", str(tmp_path / "models.yaml"))
    monkeypatch.setenv("EASEL_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / "Stable-diffusion"


def of(written: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(written / "Stable-diffusion" / f"{name}.safetensors")


def test_a_weighted_sum_is_that_of_every_weight_and_loads_by_its_new_name(written: Path, models: Path) -> None:
    assert main(["one", "two", "--weight", "0.25", "--out", "both"]) == 0

    one, two, both = of(written, "one"), of(written, "two"), load_file(models / "both.safetensors")
    assert both.keys() == one.keys()
    for name, weight in both.items():
        torch.testing.assert_close(weight, one[name] * 0.75 + two[name] * 0.25, rtol=1e-5, atol=1e-6)
    library = WatchedLibrary(load_settings(), tell=False)
    card = library.catalog.checkpoint("both")
    load_card(card, library.path(card), torch.device("cpu"), torch.float32)


def test_a_difference_is_added_to_the_first(written: Path, models: Path) -> None:
    assert main(["one", "two", "three", "--add-difference", "--weight", "0.5", "--out", "sum"]) == 0

    one, two, three = (of(written, name) for name in ("one", "two", "three"))
    torch.testing.assert_close(load_file(models / "sum.safetensors")[KEY], one[KEY] + 0.5 * (two[KEY] - three[KEY]))


def test_an_inpainting_checkpoint_keeps_the_channels_that_others_lack(written: Path, models: Path) -> None:
    assert main(["painter", "one", "--weight", "1", "--out", "repainter"]) == 0

    conv = load_file(models / "repainter.safetensors")[CONV_IN]
    torch.testing.assert_close(conv[:, :4], of(written, "one")[CONV_IN])
    assert torch.equal(conv[:, 4:], of(written, "painter")[CONV_IN][:, 4:])
    assert identify(models / "repainter.safetensors").in_channels == 9


def test_a_lora_is_baked_in_and_nothing_else_changes(written: Path, models: Path) -> None:
    assert main(["one", "--lora", "bold:0.5", "--out", "bolder"]) == 0

    one, bolder = of(written, "one"), load_file(models / "bolder.safetensors")
    torch.testing.assert_close(bolder[KEY], one[KEY] + 0.5 * 0.25)
    assert {name for name in one if not torch.equal(one[name], bolder[name])} == {KEY}


def test_the_file_tells_its_recipe(models: Path) -> None:
    main(["one", "two", "--weight", "0.25", "--lora", "bold:0.5", "--out", "told"])

    with safe_open(models / "told.safetensors", "pt") as file:
        metadata = file.metadata()
    recipe = json.loads(metadata["sd_merge_recipe"])
    assert (recipe["interp_method"], recipe["multiplier"]) == ("Weighted sum", 0.25)
    assert recipe["loras"]["bold"]["weight"] == 0.5
    assert {one["name"] for one in json.loads(metadata["sd_merge_models"]).values()} == {"one", "two"}
    assert identify(models / "told.safetensors").kind is ModelKind.CHECKPOINT


def test_the_new_checkpoint_is_asked_with_what_its_parent_is_asked_with(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "models:\n  one:  # mine\n    kind: checkpoint\n    enlarge: 4\n    defaults: {steps: 9, width: 128}\n"
    )

    assert main(["one", "two", "--out", "child"]) == 0

    card = WatchedLibrary(load_settings(), tell=False).catalog.checkpoint("child")
    assert (card.enlarge, card.defaults.steps, card.defaults.width) == (4, 9, 128)
    assert "# mine" in file.read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["one", "stranger"], "only checkpoints of the same base can be merged"),
        (["one"], "Please name two checkpoints"),
        (["one", "two", "--add-difference"], "Please name three checkpoints"),
        (["one", "tow"], "two"),
        (["one", "two", "--weight", "7"], "a number from -1 to 2"),
        (["one", "--lora", "bold:much"], "`much` is not a number"),
        (["stranger", "--lora", "bold"], "made for another kind of checkpoint"),
        (["one", "two", "--out", "../../escaped"], "stays in it"),
    ],
)
def test_what_can_not_be_merged_is_told_in_a_sentence_and_leaves_no_file(
    words: list[str], sentence: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1

    assert sentence in capsys.readouterr().err
    assert not list(models.glob("*"))


def test_nothing_is_written_over(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["one", "two", "--out", "mine"])
    before = (models / "mine.safetensors").stat().st_mtime_ns

    assert main(["two", "three", "--out", "mine"]) == 1

    assert "another name" in capsys.readouterr().err
    assert (models / "mine.safetensors").stat().st_mtime_ns == before
