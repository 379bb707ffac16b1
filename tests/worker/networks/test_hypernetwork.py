import gc
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from easel.catalog import Base, ModelKind
from easel.errors import ModelUnusable
from easel.identify.file import identify
from tests.fakes.prompts import checkpoint
from tests.fakes.tiny_models import tiny_checkpoint
from worker.networks.hypernetwork import Hypernetwork, attached, bends, read_hypernetwork
from worker.pickles import child

WIDTHS = (32, 16, 24)
"""Of the prompt's vectors and of two of the tiny UNet's own."""

Branches = Mapping[int, tuple[nn.Sequential, nn.Sequential]]


def a1111(width: int, structure: Sequence[float], **options: Any) -> nn.Sequential:
    """Build one branch as A1111 does: https://github.com/AUTOMATIC1111/stable-diffusion-webui, `HypernetworkModule`."""
    layers: list[nn.Module] = []
    activation = options.get("activation")
    for index in range(len(structure) - 1):
        layers.append(nn.Linear(int(width * structure[index]), int(width * structure[index + 1])))
        last = index >= len(structure) - 2
        if activation and (not last or options.get("activate_output")):
            layers.append(activation())
        if options.get("layer_norm"):
            layers.append(nn.LayerNorm(int(width * structure[index + 1])))
        if options.get("dropout") and 0 < index + 1 < len(structure) - 2:
            layers.append(nn.Dropout(0.3))
    branch = nn.Sequential(*layers).eval().requires_grad_(False)
    for weight in branch.parameters():
        weight.copy_(torch.randn(weight.shape) * 0.2)
    return branch


def branches(structure: Sequence[float], **options: Any) -> Branches:
    torch.manual_seed(7)
    return {width: (a1111(width, structure, **options), a1111(width, structure, **options)) for width in WIDTHS}


def pickled(built: Branches, **facts: Any) -> dict[Any, Any]:
    """Return what A1111 puts into a `.pt`."""
    return {
        width: tuple({f"linear.{name}": one for name, one in branch.state_dict().items()} for branch in pair)
        for width, pair in built.items()
    } | facts


def read(folder: Path, content: Mapping[Any, Any]) -> Hypernetwork:
    return read_hypernetwork(converted(folder, content), "sepia")


def converted(folder: Path, content: Mapping[Any, Any]) -> Path:
    old, new = folder / "sepia.pt", folder / "sepia.safetensors"
    torch.save(content, old)
    assert child.converted(old, new, {})["problem"] == ""
    return new


@torch.no_grad()
def drawn(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    sample, told = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 7, 32, generator=generator)
    prediction: Tensor = unet(sample, torch.tensor([500.0]), told).sample
    return prediction


@contextmanager
def formula(unet: Any, *worn: tuple[Branches, float]) -> Iterator[None]:
    """Work out the attention anew, keys and values from `x + strength * branch(x)`, as A1111's `apply_hypernetworks`."""

    def processor(attention: Any, hidden: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        context = hidden if encoder_hidden_states is None else encoder_hidden_states
        for_keys = for_values = context
        for built, strength in worn:
            if context.shape[2] in built:
                keys, values = built[context.shape[2]]
                for_keys = for_keys + keys(for_keys) * strength
                for_values = for_values + values(for_values) * strength
        query, key, value = (
            attention.head_to_batch_dim(one)
            for one in (attention.to_q(hidden), attention.to_k(for_keys), attention.to_v(for_values))
        )
        weighed = torch.bmm(attention.get_attention_scores(query, key), value)
        return attention.to_out[0](attention.batch_to_head_dim(weighed))  # type: ignore[no-any-return]

    before = unet.attn_processors
    unet.set_attn_processor(processor)
    try:
        yield
    finally:
        unet.set_attn_processor(before)


UNET: Any = checkpoint(Base.SD15).unet


@pytest.mark.parametrize(
    ("structure", "activation", "facts"),
    [
        ([1, 2, 1], None, {"activation_func": "linear"}),
        ([1, 2, 1], None, {}),
        ([1, 2, 1], nn.ReLU, {"activation_func": "relu", "activate_output": False}),
        # Files from before A1111 could say so are activated at the end, too.
        ([1, 2, 1], nn.ReLU, {"activation_func": "relu"}),
        ([1, 2, 2, 1], nn.Hardswish, {"activation_func": "swish", "activate_output": False, "is_layer_norm": True}),
        ([1, 1.5, 1], nn.Mish, {"activation_func": "Mish", "activate_output": True}),
        ([1, 2, 4, 2, 1], nn.LeakyReLU, {"activation_func": "leakyrelu", "activate_output": False}),
        ([1, 2, 2, 2, 1], None, {"activation_func": "linear", "use_dropout": True}),
    ],
)
@pytest.mark.parametrize("dropout", [False, True])
def test_a_hypernetwork_equals_the_formula(
    tmp_path: Path, structure: list[float], activation: Any, facts: dict[str, Any], *, dropout: bool
) -> None:
    output = facts.get("activate_output", True)
    options = {"activation": activation, "activate_output": output, "layer_norm": facts.get("is_layer_norm", False)}
    built = branches(structure, dropout=dropout, **options)
    with formula(UNET, (built, 0.7)):
        wanted = drawn(UNET)

    with attached(UNET, [(read(tmp_path, pickled(built, layer_structure=structure, **facts)), 0.7)]):
        bent = drawn(UNET)

    assert torch.allclose(bent, wanted, atol=1e-5)
    assert not torch.allclose(bent, drawn(UNET), atol=1e-3)


def test_the_oldest_files_name_their_two_layers_otherwise(tmp_path: Path) -> None:
    built = branches([1, 2, 1])
    names = {"0": "linear1", "1": "linear2"}
    content = {
        width: [{f"{names[name[0]]}{name[1:]}": one for name, one in branch.state_dict().items()} for branch in pair]
        for width, pair in built.items()
    }
    with formula(UNET, (built, 1.0)):
        wanted = drawn(UNET)

    with attached(UNET, [(read(tmp_path, content), 1.0)]):
        bent = drawn(UNET)

    assert torch.allclose(bent, wanted, atol=1e-5)


def test_several_work_one_after_the_other(tmp_path: Path) -> None:
    first = branches([1, 2, 1], activation=nn.ReLU)
    second = {32: branches([1, 1, 1])[32]}
    facts = {"activation_func": "relu", "activate_output": False}
    with formula(UNET, (first, 0.7), (second, -0.4)):
        wanted = drawn(UNET)
    worn = [(read(tmp_path, pickled(first, **facts)), 0.7), (read(tmp_path, pickled(second)), -0.4)]

    with attached(UNET, worn):
        bent = drawn(UNET)
    with attached(UNET, [worn[1], worn[0]]):
        turned = drawn(UNET)

    assert torch.allclose(bent, wanted, atol=1e-5)
    assert not torch.allclose(bent, turned, atol=1e-4)


def test_at_strength_0_and_after_removal_the_unet_is_bit_for_bit_itself(tmp_path: Path) -> None:
    plain, state = drawn(UNET), {name: one.clone() for name, one in UNET.state_dict().items()}
    sepia = read(tmp_path, pickled(branches([1, 2, 1])))

    with attached(UNET, [(sepia, 0.0)]):
        unbent = drawn(UNET)
    with pytest.raises(RuntimeError), attached(UNET, [(sepia, 1.0), (sepia, 0.5)]):
        UNET(torch.ones(1, 4, 8, 8), torch.tensor([500.0]), torch.ones(1, 7, 31))

    assert torch.equal(unbent, plain)
    assert torch.equal(drawn(UNET), plain)
    assert not any(module._forward_pre_hooks for module in UNET.modules())
    assert all(torch.equal(one, state[name]) for name, one in UNET.state_dict().items())


def test_it_works_in_the_precision_of_the_unet(tmp_path: Path) -> None:
    unet: Any = tiny_checkpoint(Base.SD15).unet
    sepia = read(tmp_path, pickled(branches([1, 2, 1])))
    with attached(unet, [(sepia, 1.0)]):
        exact = drawn(unet)

    unet.to(torch.bfloat16)
    with torch.no_grad(), attached(unet, [(sepia, 1.0)]):
        generator = torch.Generator().manual_seed(1)
        sample, told = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 7, 32, generator=generator)
        coarse = unet(sample.bfloat16(), torch.tensor([500.0]), told.bfloat16()).sample

    assert coarse.dtype is torch.bfloat16
    assert torch.allclose(coarse.float(), exact, atol=0.15)


def square(width: int, **weights: Tensor) -> dict[Any, Any]:
    """Return a hypernetwork of one layer for one width, some of its weights replaced."""
    layer = {"linear.0.weight": torch.eye(width), "linear.0.bias": torch.zeros(width)}
    return {width: (layer, layer | weights)}


def test_it_bends_only_unets_with_its_widths_and_keeps_none_alive(tmp_path: Path) -> None:
    foreign = read(tmp_path, square(768))
    unet: Any = tiny_checkpoint(Base.SD15).unet

    assert foreign.widths == {768}
    assert foreign.nbytes == 2 * 4 * (768 * 768 + 768)
    assert not bends(unet, foreign)
    assert bends(unet, read(tmp_path, square(32)))
    gone = weakref.ref(unet)
    del unet
    gc.collect()
    assert gone() is None


def test_its_file_is_told_from_its_header(tmp_path: Path) -> None:
    seen = identify(converted(tmp_path, square(768)))

    assert (seen.kind, seen.base, seen.context_dim, seen.problem) == (ModelKind.HYPERNETWORK, Base.SD15, 768, "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (square(32, **{"linear.0.weight": torch.full((32, 32), torch.nan)}), "not numbers"),
        (square(32, **{"linear.0.weight": torch.ones(32, 32, dtype=torch.int8)}), "calculated with"),
        (square(32, **{"linear.0.weight": torch.ones(32, 16)}), "its layers"),
        (square(32, **{"linear.0.weight": torch.ones(16, 32)}), "its layers"),
        (square(32, **{"linear.0.weight": torch.ones(16, 32), "linear.0.bias": torch.ones(16)}), "its layers"),
        (square(32, **{"linear.0.weight": torch.ones(32, 32, 1)}), "its layers"),
        (square(32, **{"linear.1.weight": torch.ones(32, 32)}), "its layers"),
        (square(32, **{"other.1.weight": torch.ones(32, 32)}), "its layers"),
        (square(32) | {"activation_func": "multiheadattention"}, "`multiheadattention` is none that Easel knows"),
        ({32: ({"linear.0.weight": torch.ones(32), "linear.0.bias": torch.ones(32)},) * 2}, "its layers"),
    ],
)
def test_what_is_no_usable_hypernetwork_is_told_in_a_sentence(tmp_path: Path, content: Any, why: str) -> None:
    with pytest.raises(ModelUnusable, match=f"The hypernetwork `sepia` can not be used: .*{why}"):
        read(tmp_path, content)


def test_a_file_that_does_not_say_its_activation_is_refused_only_where_one_must_be(tmp_path: Path) -> None:
    for name, activation in (("linear", None), ("bent", nn.ReLU)):
        built = pickled(branches([1, 2, 1], activation=activation))
        save_file(load_file(converted(tmp_path, built)), tmp_path / f"{name}.safetensors")
    save_file({"x.y": torch.ones(1)}, tmp_path / "other.safetensors")

    assert read_hypernetwork(tmp_path / "linear.safetensors", "linear").widths == set(WIDTHS)
    with pytest.raises(ModelUnusable, match="does not say which activation"):
        read_hypernetwork(tmp_path / "bent.safetensors", "bent")
    with pytest.raises(ModelUnusable, match="something else"):
        read_hypernetwork(tmp_path / "other.safetensors", "other")
