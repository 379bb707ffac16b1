"""Each training method: what is added to a weight makes the layer compute what it computed while it was trained."""

import pytest
import torch
from torch import Tensor, nn

from tests.fakes.engine_jobs import unlikeness
from tests.fakes.trained_loras import ALGORITHMS, pieces, train, train_norm, training
from worker.networks.assembly import bias_change, weight_change
from worker.networks.keys import split
from worker.networks.patches import Layer, Patches

NEAR = 1e-5


def layer(kind: str) -> tuple[nn.Module, Tensor]:
    """Return a layer and something that it can be given."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        if kind == "linear":
            return nn.Linear(24, 32), torch.randn(3, 24, generator=generator)
        return nn.Conv2d(16, 32, 3, padding=1), torch.randn(2, 16, 6, 6, generator=generator)


def named(trained: object) -> dict[str, Tensor]:
    """Return the layer's pieces under the names that are known here."""
    found = {split(f"layer.{name}"): tensor for name, tensor in pieces(trained).items()}
    assert None not in found
    return {name[1]: tensor for name, tensor in found.items() if name is not None}


def put_on(module: nn.Module, trained: object, strength: float = 1.0, ranks: int | None = None) -> Patches:
    weight, bias = weight_change(named(trained)), bias_change(named(trained))
    assert weight is not None
    assert isinstance(module.weight, nn.Parameter)
    assert weight.fits(module.weight.shape)
    wanted = {module.weight: (Layer(weight, strength, ranks),)}
    if bias is not None:
        assert isinstance(module.bias, nn.Parameter)
        wanted[module.bias] = (Layer(bias, strength, ranks),)
    patches = Patches()
    patches.wear(wanted)
    return patches


@torch.no_grad()
@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_changed_layer_computes_what_it_did_in_training(algorithm: str, kind: str) -> None:
    module, given = layer(kind)
    plain = module(given)
    before = [weight.clone() for weight in module.parameters()]
    trained = train(module, algorithm)
    with training(trained):
        taught = module(given)
    assert unlikeness(taught, plain) > 0.01

    patches = put_on(module, trained)
    changed = module(given)
    patches.take_off()

    assert unlikeness(changed, taught) < NEAR
    assert all(torch.equal(*pair) for pair in zip(module.parameters(), before, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("algorithm", ["lora", "dora", "lokr", "oft", "glora", "full"])
def test_half_the_strength_goes_half_the_way(algorithm: str) -> None:
    module, given = layer("linear")
    plain, trained = module(given), train(module, algorithm)
    with training(trained):
        taught = module(given)

    put_on(module, trained, 0.5)

    assert unlikeness(module(given), (plain + taught) / 2) < NEAR


@torch.no_grad()
@pytest.mark.parametrize("module", [nn.LayerNorm(8), nn.GroupNorm(4, 8)])
def test_norms_learn_too(module: nn.Module) -> None:
    given, trained = torch.randn(2, 8), train_norm(module)
    with training(trained):
        taught = module(given)

    put_on(module, trained)

    assert unlikeness(module(given), taught) < NEAR


@torch.no_grad()
def test_only_the_first_ranks_count_where_a_tag_says_so() -> None:
    module, given = layer("convolution")
    trained = train(module, "lora")
    trained.lora_up.weight[:, 2:] = 0
    with training(trained):
        taught = module(given)
    trained.lora_up.weight[:, 2:] = 5

    put_on(module, trained, ranks=2)

    assert unlikeness(module(given), taught) < NEAR


@torch.no_grad()
def test_peft_writes_the_lengths_of_dora_for_outputs() -> None:
    module, given = layer("linear")
    trained = train(module, "dora")
    with training(trained):
        taught = module(given)
    own = named(trained)
    own["lengths"] = own.pop("dora_scale").flatten()

    change = weight_change(own)

    assert change is not None
    assert isinstance(module.weight, nn.Parameter)
    module.weight.add_(change.of(module.weight))
    assert unlikeness(module(given), taught) < NEAR


@torch.no_grad()
def test_glora_is_also_read_as_it_was_first_written() -> None:
    module, _ = layer("linear")
    assert isinstance(module.weight, nn.Parameter)
    own = named(train(module, "glora"))
    swapped = {"a1": "a2", "a2": "a1", "b1": "b2", "b2": "b1"}
    old = {f"{swapped[name[:2]]}.weight" if name != "alpha" else name: tensor for name, tensor in own.items()}

    today, then = weight_change(own), weight_change(old)

    assert today is not None
    assert then is not None
    assert torch.equal(today.of(module.weight), then.of(module.weight))
