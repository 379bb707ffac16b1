import logging
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable, OutOfMemory
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from worker.checkpoints.hot import CheckpointCache

PLENTY = 10**9


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("library")
    save_folder(tiny_checkpoint(Base.SD15), root / "one")
    for name in ("two", "three"):
        shutil.copytree(root / "one", root / name)
    save_folder(tiny_checkpoint(Base.SDXL), root / "xl")
    return root


def card(name: str, **changes: Any) -> ModelCard:
    return ModelCard(name=name, kind=ModelKind.CHECKPOINT, path=name, root="0").changed(**changes)


def cache(library: Path, *, budget: int = PLENTY) -> CheckpointCache:
    return CheckpointCache(lambda card: library / card.path, device=torch.device("cpu"), budget=budget)


def test_a_warm_checkpoint_is_not_loaded_again(library: Path) -> None:
    checkpoints = cache(library)

    first = checkpoints.get(card("one"))

    assert checkpoints.get(card("one")) is first


def test_the_card_says_what_the_folder_can_not(library: Path) -> None:
    described = card("one", base=Base.SD15, prediction_type="v_prediction", sha256="ab" * 32)

    checkpoint = cache(library).get(described)

    assert checkpoint.name == "one"
    assert checkpoint.scheduler_config["prediction_type"] == "v_prediction"
    assert checkpoint.file_hash == "ababababab"


def test_a_card_without_base_is_looked_up_in_the_folder(library: Path) -> None:
    checkpoints = cache(library)

    assert checkpoints.get(card("one")).base is Base.SD15
    assert checkpoints.get(card("xl")).base is Base.SDXL


def test_the_one_used_longest_ago_leaves_first(library: Path) -> None:
    size = cache(library).get(card("one")).nbytes
    checkpoints = cache(library, budget=5 * size // 2)

    for name in ("one", "two", "one", "three"):
        checkpoints.get(card(name))

    assert checkpoints.warm == ("one", "three")
    assert checkpoints.nbytes == 2 * size


def test_a_checkpoint_beyond_the_budget_is_kept_alone(library: Path) -> None:
    checkpoints = cache(library, budget=1)

    for name in ("one", "two"):
        checkpoints.get(card(name))

    assert checkpoints.warm == ("two",)


def test_what_the_files_did_not_tell_is_made_up_for_after_loading(library: Path, tmp_path: Path) -> None:
    halved = tiny_checkpoint(Base.SD15)
    for module in halved.modules:
        module.half()
    save_folder(halved, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    # On disk a checkpoint has half the bytes that it has in single precision.
    checkpoints = cache(tmp_path, budget=cache(library).get(card("one")).nbytes * 7 // 4)

    for name in ("one", "two"):
        checkpoints.get(card(name))

    assert checkpoints.warm == ("two",)


def test_whoever_refers_to_a_checkpoint_is_told_that_it_leaves(library: Path) -> None:
    left: list[str] = []
    checkpoints = CheckpointCache(
        lambda card: library / card.path, device=torch.device("cpu"), budget=1, on_leave=left.append
    )

    for name in ("one", "two"):
        checkpoints.get(card(name))
    checkpoints.clear()

    assert left == ["one", "two"]


def test_a_checkpoint_that_left_is_freed(library: Path) -> None:
    checkpoints = cache(library, budget=1)
    freed = [weakref.ref(module) for module in checkpoints.get(card("one")).modules]

    checkpoints.get(card("two"))

    assert [module() for module in freed] == [None, None, None]


def test_new_files_under_the_same_name_take_the_place_of_the_old(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library / "one", tmp_path / "one")
    checkpoints = cache(tmp_path)
    old = checkpoints.get(card("one"))

    (tmp_path / "one" / "vae" / "diffusion_pytorch_model.safetensors").touch()

    assert checkpoints.get(card("one")) is not old
    assert checkpoints.warm == ("one",)


def test_a_card_that_is_only_worded_anew_loads_nothing(library: Path) -> None:
    checkpoints = cache(library)

    first = checkpoints.get(card("one"))

    assert checkpoints.get(card("one", title="The One", trigger_words=("cat",))) is first


def test_a_single_file_is_refused(library: Path) -> None:
    (library / "single.safetensors").write_bytes(b"")

    with pytest.raises(ModelUnusable, match="`single` is not a diffusers folder"):
        cache(library).get(card("single", path="single.safetensors"))


def test_a_checkpoint_that_can_not_be_loaded_leaves_the_others_warm(library: Path) -> None:
    checkpoints = cache(library)
    checkpoints.get(card("one"))

    with pytest.raises(ModelUnusable):
        checkpoints.get(card("missing"))

    assert checkpoints.warm == ("one",)


def test_out_of_memory_empties_the_cache_and_tries_once_more(
    library: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = cache(library)
    checkpoints.get(card("one"))
    load = torch.nn.Module.to
    left = [1]

    def full_once(self: torch.nn.Module, *args: Any, **options: Any) -> torch.nn.Module:
        if left:
            left.pop()
            raise torch.OutOfMemoryError("full")
        return load(self, *args, **options)

    monkeypatch.setattr(torch.nn.Module, "to", full_once)
    with caplog.at_level(logging.WARNING):
        checkpoints.get(card("two"))

    assert checkpoints.warm == ("two",)
    assert "no room for two: letting one go" in caplog.text


def test_out_of_memory_on_an_empty_device_is_said(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(torch.nn.Module, "to", full)

    with pytest.raises(OutOfMemory, match="`one` does not fit into the memory"):
        cache(library).get(card("one"))


def test_clearing_lets_everything_go(library: Path) -> None:
    checkpoints = cache(library)
    checkpoints.get(card("one"))

    checkpoints.clear()

    assert (checkpoints.warm, checkpoints.nbytes) == ((), 0)
