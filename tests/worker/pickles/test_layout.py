"""What trainers pickled comes out as the same numbers, under the names that are read here."""

import json
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from easel.identify.header import read_header
from tests.fakes.pickled import lightning, saved
from worker.pickles import child


@pytest.fixture
def converted(tmp_path: Path) -> Callable[[bytes], dict[str, Tensor]]:
    def convert(file: bytes) -> dict[str, Tensor]:
        source, target = tmp_path / "source.ckpt", tmp_path / "out.safetensors"
        source.write_bytes(file)
        answer = child.converted(source, target, {"easel.file": source.name})
        assert answer["problem"] == ""
        assert read_header(target).metadata["easel.file"] == "source.ckpt"
        return load_file(target)

    return convert


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], str]:
    def convert(file: bytes) -> str:
        source = tmp_path / "source.ckpt"
        source.write_bytes(file)
        return str(child.converted(source, tmp_path / "out.safetensors", {})["problem"])

    return convert


Converted = Callable[[bytes], dict[str, Tensor]]
Refused = Callable[[bytes], str]


def check_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert {name: (one.dtype, one.shape) for name, one in found.items()} == {
        name: (one.dtype, one.shape) for name, one in expected.items()
    }
    assert all(torch.equal(found[name].float(), one.float()) for name, one in expected.items())


def weights() -> dict[str, Tensor]:
    row = torch.rand(240, generator=torch.Generator().manual_seed(3))
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.uint8, torch.bool)
    return {
        "whole": row.reshape(2, 3, 40),
        "part": row[17:57].reshape(4, 10),
        "turned": row.reshape(24, 10).t(),
        "channels last": row.reshape(2, 3, 8, 5).contiguous(memory_format=torch.channels_last),
        "one of each": row.reshape(2, 3, 40)[:, 1:2, ::2],
        "number": torch.tensor(7),
        "nothing": torch.tensor([]),
        **{str(kind): (row[:12] * 9).to(kind).reshape(3, 4) for kind in kinds},
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older format"])
def test_every_kind_of_tensor_keeps_its_numbers(zipped: bool, converted: Converted) -> None:
    expected = weights()
    if not zipped:
        # It has no word for them.
        del expected["torch.float8_e4m3fn"]

    found = converted(saved(expected, _use_new_zipfile_serialization=zipped))

    check_same(found, expected)


def test_an_old_lightning_checkpoint_loses_only_what_is_no_weight(converted: Converted) -> None:
    state = OrderedDict({"model.diffusion_model.out.weight": torch.rand(4, 4), "betas": torch.rand(9).double()})
    with lightning() as callback:
        file = saved(
            {
                "state_dict": state,
                "callbacks": {callback: {"best": np.float64(1.5)}, "other": callback()},
                "optimizer_states": [{"state": {0: {"exp_avg": torch.rand(99)}}}],
                "hyper_parameters": defaultdict(dict, seen={1, 2}, path=Path("x")),
                "global_step": 470_000,
            }
        )

    check_same(converted(file), dict(state))


def test_the_embeddings_of_all_trainers_get_one_name(converted: Converted, tmp_path: Path) -> None:
    vectors = torch.rand(3, 768)
    a1111 = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "bad", "step": 500}
    parameters = a1111 | {"string_to_param": nn.ParameterDict({"*": nn.Parameter(vectors)})}
    two = {"clip_l": torch.rand(2, 768), "clip_g": torch.rand(2, 1280)}

    for content in (a1111, parameters, {"<bad>": vectors}, {"emb_params": vectors}, vectors):
        check_same(converted(saved(content)), {"emb_params": vectors})
    check_same(converted(saved(two)), two)
    converted(saved(a1111))
    assert read_header(tmp_path / "out.safetensors").metadata["step"] == "500"


def test_a_hypernetwork_keeps_its_layers_and_what_they_mean(converted: Converted, tmp_path: Path) -> None:
    sides = [OrderedDict({f"linear.{n}.{part}": torch.rand(4) for n in (0, 3) for part in ("weight", "bias")})] * 2
    facts = {"layer_structure": [1, 2, 1], "activation_func": "mish", "activate_output": False, "step": None}

    found = converted(saved({320: tuple(sides), 768: tuple(sides)} | facts))

    expected = {f"{width}.{n}.{name}": one for width in (320, 768) for n in (0, 1) for name, one in sides[n].items()}
    check_same(found, expected)
    metadata = read_header(tmp_path / "out.safetensors").metadata
    assert json.loads(metadata["layer_structure"]) == [1, 2, 1]
    assert (metadata["activation_func"], metadata["activate_output"]) == ("mish", "false")
    assert "step" not in metadata


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        lambda state: {"params": {"wrong": torch.rand(2, 2)}, "params_ema": state, "iteration": 5},
        lambda state: {"state_dict": state},
        lambda state: {"model": {"state_dict": state}, "optimizer": {"state": {0: torch.rand(9)}}},
        lambda state: {f"module.{name}": one for name, one in state.items()},
    ],
    ids=["bare", "params", "state dict", "two wrappers", "several devices"],
)
def test_a_state_dict_is_taken_out_of_its_wrappers(wrap: Callable[[Any], Any], converted: Converted) -> None:
    state = {"conv_first.weight": torch.rand(8, 3, 3, 3), "conv_first.bias": torch.rand(8)}

    check_same(converted(saved(wrap(state))), state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older format"])
def test_a_network_that_was_pickled_as_a_whole_gives_its_weights(zipped: bool, converted: Converted) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))

    found = converted(saved(network, _use_new_zipfile_serialization=zipped))

    check_same(found, dict(network.state_dict()))


def test_what_a_vae_was_taught_by_is_left_behind(converted: Converted) -> None:
    state = {"decoder.conv_in.weight": torch.rand(8, 4, 3, 3), "decoder.conv_in.bias": torch.rand(8)}

    found = converted(saved({"state_dict": state | {"loss.logvar": torch.rand(1), "loss.net.0.weight": torch.rand(9)}}))

    check_same(found, state)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"state_dict": {"a": torch.ones(4, 4, dtype=torch.int8), "b": torch.ones(3, dtype=torch.int64)}},
            "calculated",
        ),
        ({"epoch": 3}, "calculated"),
        ({"string_to_param": {"*": torch.ones(1, 8), "+": torch.ones(1, 8)}}, "several embeddings"),
        ({1: torch.ones(2, 2), "1": torch.ones(2, 2)}, "than any model has"),
        ({f"w{n}": one for one in [torch.ones(1)] for n in range(20_001)}, "than any model has"),
        (torch.sparse_coo_tensor([[0], [1]], [1.0], (2, 2), check_invariants=True), "_rebuild_sparse_tensor"),
        ({"a": torch.ones(1).expand(10_000, 1000)}, "larger than what is stored"),
        ({f"w{n}": one for one in [torch.ones(1000)] for n in range(9000)}, "larger than the file"),
    ],
    ids=["int8", "no weights", "two embeddings", "one name twice", "too many", "sparse", "expanded", "shared"],
)
def test_what_is_no_model_is_refused_with_a_sentence(content: Any, words: str, refused: Refused) -> None:
    assert words in refused(saved(content))


def test_a_nest_without_end_is_refused(refused: Refused) -> None:
    laughs: Any = {"a": 1}
    for _ in range(10):
        laughs = dict.fromkeys("abcdefgh", laughs)
    endless: dict[str, Any] = {"a": torch.ones(2, 2)}
    endless["again"] = endless

    assert "nested" in refused(saved(laughs))
    assert "nested" in refused(saved(endless))
