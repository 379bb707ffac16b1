import logging
import random
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable, OutOfMemory
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.hot import CheckpointCache

PLENTY = 10**9
WEIGHTS = "diffusion_pytorch_model.safetensors"

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("library")
    for seed, name in enumerate(("one", "two", "three")):
        saved(tiny_checkpoint(Base.SD15, seed=seed), root / name)
    saved(tiny_checkpoint(Base.SDXL), root / "xl")
    return root


@pytest.fixture(scope="module")
def fresh(library: Path) -> dict[str, State]:
    """The weights of each checkpoint as they are right after loading."""
    return {name: weights_of(cache(library).get(card(name))) for name in ("one", "two", "three", "xl")}


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints in half precision, which are no use to the CPU as they are."""
    root = tmp_path_factory.mktemp("halves")
    checkpoint = tiny_checkpoint(Base.SD15)
    for module in checkpoint.modules:
        module.half()
    saved(checkpoint, root / "one")
    for name in ("two", "three"):
        shutil.copytree(root / "one", root / name)
    return root


def saved(checkpoint: Checkpoint, folder: Path) -> None:
    save_folder(checkpoint, folder)
    # CLIP's own words are at hand, and read once.
    for tokenizer in folder.glob("tokenizer*"):
        shutil.rmtree(tokenizer)


def card(name: str, **changes: Any) -> ModelCard:
    return ModelCard(name=name, kind=ModelKind.CHECKPOINT, path=name, root="0").changed(**changes)


def cache(library: Path, *, budget: int = PLENTY, ram: int = 0) -> CheckpointCache:
    return CheckpointCache(lambda card: library / card.path, device=torch.device("cpu"), budget=budget, ram_budget=ram)


def weights_of(checkpoint: Checkpoint) -> State:
    return {name: weight.clone() for name, weight in state_of(checkpoint).items()}


def state_of(checkpoint: Checkpoint) -> State:
    unet, vae, *texts = checkpoint.modules
    parts = {"unet": unet, "vae": vae, **{f"text{n}": text for n, text in enumerate(texts)}}
    return {f"{part}.{name}": weight for part, one in parts.items() for name, weight in one.state_dict().items()}


def same(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def size_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def test_a_warm_checkpoint_is_not_loaded_again(library: Path) -> None:
    checkpoints = cache(library)

    first = checkpoints.get(card("one"))

    assert checkpoints.get(card("one")) is first
    assert checkpoints.find(card("one")) is first
    assert checkpoints.find(card("two")) is None


def test_the_card_says_what_the_folder_can_not(library: Path) -> None:
    described = card("one", base=Base.SD15, prediction_type="v_prediction", zero_snr=True, sha256="ab" * 32)

    checkpoint = cache(library).get(described)

    assert checkpoint.name == "one"
    assert checkpoint.scheduler_config["prediction_type"] == "v_prediction"
    assert checkpoint.scheduler_config["rescale_betas_zero_snr"] is True
    assert checkpoint.file_hash == "ababababab"


def test_a_card_without_base_is_looked_up_in_the_folder(library: Path) -> None:
    checkpoints = cache(library)

    assert checkpoints.get(card("one")).base is Base.SD15
    assert checkpoints.get(card("xl")).base is Base.SDXL


def test_the_one_used_least_leaves_first(library: Path) -> None:
    size = cache(library).get(card("one")).nbytes
    checkpoints = cache(library, budget=5 * size // 2)

    for name in ("one", "one", "two", "three"):
        checkpoints.get(card(name))

    assert checkpoints.warm == ("one", "three")
    assert checkpoints.nbytes == 2 * size


def test_what_the_line_asks_for_next_stays(library: Path) -> None:
    size = cache(library).get(card("one")).nbytes
    checkpoints = cache(library, budget=5 * size // 2)
    checkpoints.expect(["two"])

    for name in ("one", "one", "two", "three"):
        checkpoints.get(card(name))

    assert checkpoints.warm == ("two", "three")


def test_a_checkpoint_beyond_the_budget_is_kept_alone(library: Path) -> None:
    checkpoints = cache(library, budget=1)

    for name in ("one", "two"):
        checkpoints.get(card(name))

    assert checkpoints.warm == ("two",)


def test_what_counts_is_the_room_on_the_device_and_not_that_of_the_file(library: Path, halves: Path) -> None:
    # On disk a checkpoint has half the bytes that it has in single precision.
    checkpoints = cache(halves, budget=cache(library).get(card("one")).nbytes * 7 // 4)

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


def test_the_next_of_its_build_is_poured_into_the_modules_of_one_that_nobody_uses(
    library: Path, fresh: dict[str, State]
) -> None:
    checkpoints = cache(library, budget=1)
    one = checkpoints.get(card("one"))
    modules = one.modules
    # As a LoRA leaves it.
    with torch.inference_mode():
        modules[0].get_parameter("conv_in.weight").add_(1)
    wardrobe = one.wardrobe
    del one

    two = checkpoints.get(card("two"))

    assert [mine is left for mine, left in zip(two.modules, modules, strict=True)] == [True, True, True]
    assert same(weights_of(two), fresh["two"])
    assert not same(fresh["one"], fresh["two"])
    assert (two.name, two.wardrobe is wardrobe) == ("two", False)


def test_a_checkpoint_in_use_is_never_poured_over(library: Path, fresh: dict[str, State]) -> None:
    checkpoints = cache(library, budget=1)
    one = checkpoints.get(card("one"))

    two = checkpoints.get(card("two"))

    assert checkpoints.warm == ("two",)
    assert same(weights_of(one), fresh["one"])
    assert same(weights_of(two), fresh["two"])


def test_one_that_left_is_freed_where_the_next_is_of_another_build(library: Path) -> None:
    checkpoints = cache(library, budget=1)
    freed = [weakref.ref(module) for module in checkpoints.get(card("one")).modules]

    checkpoints.get(card("xl"))

    assert [module() for module in freed] == [None, None, None]


def test_in_any_order_of_jobs_every_checkpoint_has_its_own_weights(library: Path, fresh: dict[str, State]) -> None:
    chance = random.Random(8)
    checkpoints = cache(library, budget=2 * cache(library).get(card("one")).nbytes, ram=PLENTY)
    in_use: list[Checkpoint] = []
    poured, seen = 0, set[int]()

    for _ in range(14):
        in_use = [one for one in in_use if chance.random() < 0.4]
        checkpoint = checkpoints.get(card(chance.choice(["one", "two", "three", "xl"])))
        poured += id(checkpoint.unet) in seen
        seen.add(id(checkpoint.unet))
        in_use.append(checkpoint)

        assert all(same(state_of(one), fresh[one.name]) for one in in_use)

    assert poured > 1


def test_new_files_under_the_same_name_take_the_place_of_the_old(
    library: Path, tmp_path: Path, fresh: dict[str, State]
) -> None:
    shutil.copytree(library / "one", tmp_path / "one")
    checkpoints = cache(tmp_path, ram=PLENTY)
    old = checkpoints.get(card("one"))

    shutil.copytree(library / "two", tmp_path / "new")
    (tmp_path / "new" / "unet" / WEIGHTS).replace(tmp_path / "one" / "unet" / WEIGHTS)
    new = checkpoints.get(card("one"))

    assert new is not old
    assert checkpoints.warm == ("one",)
    assert torch.equal(weights_of(new)["unet.conv_in.weight"], fresh["two"]["unet.conv_in.weight"])


def test_a_card_that_is_only_worded_anew_loads_nothing(library: Path) -> None:
    checkpoints = cache(library)

    first = checkpoints.get(card("one"))

    assert checkpoints.get(card("one", title="The One", trigger_words=("cat",))) is first


def test_an_empty_file_is_refused(library: Path) -> None:
    (library / "single.safetensors").write_bytes(b"")

    with pytest.raises(ModelUnusable, match="`single` can not be used"):
        cache(library).get(card("single", path="single.safetensors"))


def test_a_checkpoint_that_can_not_be_read_leaves_the_others_warm(library: Path) -> None:
    checkpoints = cache(library, budget=1)
    checkpoints.get(card("one"))

    with pytest.raises(ModelUnusable):
        checkpoints.get(card("missing"))

    assert checkpoints.warm == ("one",)


def test_after_a_checkpoint_that_is_no_numbers_the_next_is_whole(
    library: Path, tmp_path: Path, fresh: dict[str, State]
) -> None:
    for name in ("one", "two"):
        shutil.copytree(library / name, tmp_path / name)
    weights = load_file(tmp_path / "two" / "vae" / WEIGHTS)
    save_file({name: one * torch.nan for name, one in weights.items()}, tmp_path / "two" / "vae" / WEIGHTS)
    checkpoints = cache(tmp_path, budget=1)
    checkpoints.get(card("one"))

    with pytest.raises(ModelUnusable, match="values that are not numbers"):
        checkpoints.get(card("two"))

    assert checkpoints.warm == ()
    assert same(weights_of(checkpoints.get(card("one"))), fresh["one"])


def test_what_was_read_ahead_is_not_read_again(halves: Path, tmp_path: Path) -> None:
    shutil.copytree(halves / "one", tmp_path / "one")
    ahead, late = cache(tmp_path, ram=PLENTY), cache(tmp_path, ram=PLENTY)

    ahead.prefetch(card("one"))
    (tmp_path / "one" / "unet" / "config.json").unlink()

    assert (ahead.warm, ahead.in_ram) == ((), ("one",))
    assert ahead.get(card("one")).name == "one"
    with pytest.raises(ModelUnusable):
        late.get(card("one"))


def test_ram_keeps_what_is_used_most_of_what_fits(halves: Path) -> None:
    checkpoints = cache(halves, budget=1, ram=5 * size_on_disk(halves / "one") // 2)

    for name in ("one", "one", "two", "three"):
        checkpoints.get(card(name))

    assert checkpoints.in_ram == ("one", "three")
    assert checkpoints.warm == ("three",)


def test_what_does_not_fit_into_ram_is_not_read_ahead(halves: Path) -> None:
    checkpoints = cache(halves, ram=size_on_disk(halves / "one") // 2)

    checkpoints.prefetch(card("one"))

    assert checkpoints.in_ram == ()
    assert checkpoints.get(card("one")).name == "one"


def test_out_of_memory_empties_the_cache_and_tries_once_more(
    library: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = cache(library)
    checkpoints.get(card("one"))
    load = torch.nn.Module.register_parameter
    left = [1]

    def full_once(self: torch.nn.Module, *args: Any, **options: Any) -> None:
        if left:
            left.pop()
            raise torch.OutOfMemoryError("full")
        load(self, *args, **options)

    monkeypatch.setattr(torch.nn.Module, "register_parameter", full_once)
    with caplog.at_level(logging.WARNING):
        checkpoints.get(card("two"))

    assert checkpoints.warm == ("two",)
    assert "no room for two: letting one go" in caplog.text


def test_out_of_memory_on_an_empty_device_is_said(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(torch.nn.Module, "register_parameter", full)

    with pytest.raises(OutOfMemory, match="`one` does not fit into the memory"):
        cache(library).get(card("one"))


def test_clearing_lets_everything_go(library: Path) -> None:
    checkpoints = cache(library)
    checkpoints.get(card("one"))

    checkpoints.clear()

    assert (checkpoints.warm, checkpoints.nbytes) == ((), 0)
