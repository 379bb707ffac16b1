"""What a checkpoint wears: it paints and reads as it did in training, and afterwards it is what it was, bit for bit."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from easel.catalog import Base
from easel.errors import ModelUnusable
from easel.jobs import ImageRequest
from tests.fakes.engine_jobs import Run, plan, small, told, unlikeness, wide_engine
from tests.fakes.tiny_models import tiny_checkpoint
from tests.fakes.trained_loras import Trained, train_checkpoint, training
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.encoder import Encoder
from worker.networks import patches
from worker.networks.lora_file import LoraFile, read_lora
from worker.networks.outfit import NOTHING, Outfit
from worker.networks.wardrobe import Worn

NEAR = 2e-4
"""Of what layer after layer makes of the rounding of one."""


@functools.cache
def own(base: Base) -> Checkpoint:
    """Return a tiny checkpoint that the tests of this file may dress."""
    return tiny_checkpoint(base)


@pytest.fixture
def checkpoint() -> Iterator[Checkpoint]:
    yield own(Base.SD15)
    own(Base.SD15).wardrobe.take_off()


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_checkpoint(own(Base.SD15))


@pytest.fixture(scope="module")
def style(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> LoraFile:
    return read(trained, tmp_path_factory.mktemp("style"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LoraFile:
    return read(train_checkpoint(own(Base.SD15), seed=1000), tmp_path_factory.mktemp("other"))


def weights(checkpoint: Checkpoint) -> list[Tensor]:
    return [weight.detach().clone() for module in checkpoint.modules for weight in module.parameters()]


def same(checkpoint: Checkpoint, before: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(weights(checkpoint), before, strict=True))


def read(trained: Trained, folder: Path, name: str = "style") -> LoraFile:
    return read_lora(trained.save(folder / f"{name}.safetensors"), name)


@torch.no_grad()
def painted(checkpoint: Checkpoint, outfit: Outfit = NOTHING) -> Tensor:
    """Return the UNet's answer to one question."""
    words = told(checkpoint, 4)
    added = None
    if words.pooled is not None:
        added = {"text_embeds": words.pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    unet: Any = checkpoint.unet
    with outfit.painting(checkpoint):
        answer: Tensor = unet(sample, 500, encoder_hidden_states=words.embeds, added_cond_kwargs=added).sample
    return answer


def spoken(checkpoint: Checkpoint, outfit: Outfit = NOTHING) -> Tensor:
    """Return what a prompt says, and on SDXL its summary behind it."""
    said = Encoder(checkpoint).plan(small(prompt="a red fox"), outfit=outfit).positives[0][0].texts[0]
    parts = [said.embeds.flatten(), *([] if said.pooled is None else [said.pooled.flatten()])]
    return torch.cat(parts)


@pytest.mark.parametrize(("base", "algorithm"), [(Base.SD15, "dora"), *((base, "lora") for base in Base)])
def test_it_paints_and_reads_as_it_did_in_training(tmp_path: Path, base: Base, algorithm: str) -> None:
    checkpoint = own(base)
    before, plain, silent = weights(checkpoint), painted(checkpoint), spoken(checkpoint)
    trained = train_checkpoint(checkpoint, algorithm)
    lora = read(trained, tmp_path)
    with training(*trained.of("lora_unet_")):
        taught = painted(checkpoint)
    with training(*trained.of("lora_te")):
        meant = spoken(checkpoint)
    assert unlikeness(taught, plain) > 0.01
    assert unlikeness(meant, silent) > 0.01

    worn = Outfit(text=(Worn(lora, 1.0),), unet=(Worn(lora, 1.0),))

    assert unlikeness(painted(checkpoint, worn), taught) < NEAR
    assert unlikeness(spoken(checkpoint, worn), meant) < NEAR
    assert torch.equal(painted(checkpoint), plain)
    assert torch.equal(spoken(checkpoint), silent)
    assert same(checkpoint, before)


def test_each_side_has_a_weight_of_its_own(style: LoraFile, checkpoint: Checkpoint) -> None:
    plain, silent = painted(checkpoint), spoken(checkpoint)

    unet_only, text_only = Outfit(unet=(Worn(style, 0.7),)), Outfit(text=(Worn(style, 0.7),))

    assert unlikeness(painted(checkpoint, unet_only), plain) > 0.001
    assert torch.equal(spoken(checkpoint, unet_only), silent)
    assert torch.equal(painted(checkpoint, text_only), plain)
    assert unlikeness(spoken(checkpoint, text_only), silent) > 0.001


def test_several_add_up_in_any_order(style: LoraFile, other: LoraFile, checkpoint: Checkpoint) -> None:
    weight = checkpoint.modules[0].get_submodule("down_blocks.0.attentions.0.proj_in").weight
    assert isinstance(weight, Tensor)
    plain = weight.clone()

    def change(*worn: Worn) -> Tensor:
        with Outfit(unet=worn).painting(checkpoint):
            return weight - plain

    both = change(Worn(style, 0.5), Worn(other, -0.25))

    torch.testing.assert_close(both, change(Worn(style, 0.5)) + change(Worn(other, -0.25)), rtol=0, atol=1e-6)
    torch.testing.assert_close(both, change(Worn(other, -0.25), Worn(style, 0.5)), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        change(Worn(style, 0.25), Worn(style, 0.25)), change(Worn(style, 0.5)), rtol=0, atol=1e-6
    )


def test_changing_clothes_starts_from_the_pristine_weights(
    style: LoraFile, other: LoraFile, checkpoint: Checkpoint
) -> None:
    before = weights(checkpoint)
    first, second = Outfit(unet=(Worn(style, 1.0),)), Outfit(unet=(Worn(other, 3.0),))
    fresh = painted(checkpoint, first)

    for _ in range(3):
        painted(checkpoint, second)

        assert torch.equal(painted(checkpoint, first), fresh)
    painted(checkpoint)
    assert same(checkpoint, before)


def test_only_what_differs_is_touched(
    tmp_path: Path, trained: Trained, style: LoraFile, checkpoint: Checkpoint
) -> None:
    names = [name for name in trained.layers if name.startswith("lora_unet_")]
    few = read(Trained({name: trained.layers[name] for name in names[:3]}), tmp_path, "few")
    unet = checkpoint.modules[0]
    painted(checkpoint, Outfit(unet=(Worn(style, 1.0),)))
    versions = {name: weight._version for name, weight in unet.named_parameters()}

    painted(checkpoint, Outfit(unet=(Worn(style, 1.0), Worn(few, 0.5))))
    again = {name: weight._version for name, weight in unet.named_parameters()}
    painted(checkpoint, Outfit(unet=(Worn(style, 1.0), Worn(few, 0.5))))

    assert sum(versions[name] != again[name] for name in versions) == 3
    assert again == {name: weight._version for name, weight in unet.named_parameters()}


def test_after_an_error_in_the_middle_nothing_is_on(
    style: LoraFile, other: LoraFile, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights(checkpoint)
    painted(checkpoint, Outfit(unet=(Worn(style, 1.0),)))
    changed = other.lessons[60].weight
    assert changed is not None
    with monkeypatch.context() as damage:
        damage.setattr(type(changed), "of", _failing_on(changed, type(changed).of))

        with pytest.raises(RuntimeError, match="out of ideas"):
            painted(checkpoint, Outfit(unet=(Worn(other, 1.0),)))

    assert same(checkpoint, before)
    assert unlikeness(painted(checkpoint, Outfit(unet=(Worn(other, 1.0),))), painted(checkpoint)) > 0.001


def _failing_on(culprit: object, of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def fail(self: object, weight: Tensor, ranks: int | None = None) -> Tensor:
        if self is culprit:
            raise RuntimeError("out of ideas")
        return of(self, weight, ranks)

    return fail


def test_weights_that_overflow_are_refused_and_put_back(style: LoraFile) -> None:
    checkpoint = tiny_checkpoint(Base.SD15)
    checkpoint.modules[0].half()
    before = weights(checkpoint)

    with pytest.raises(ModelUnusable, match="too strong together"):
        painted(checkpoint, Outfit(unet=(Worn(style, 1e8),)))

    assert same(checkpoint, before)


def test_half_precision_is_rounded_once(style: LoraFile, other: LoraFile) -> None:
    checkpoint = tiny_checkpoint(Base.SD15)
    checkpoint.modules[0].half()
    name = "down_blocks.0.attentions.0.proj_in"
    weight = checkpoint.modules[0].get_submodule(name).weight
    assert isinstance(weight, torch.nn.Parameter)
    exact = weight.detach().float()
    for lora, strength in ((style, 0.3), (other, 0.4)):
        changes = dict(checkpoint.wardrobe.fit(lora, checkpoint).changes["unet"])
        exact = exact + strength * changes[weight].of(exact)

    with Outfit(unet=(Worn(style, 0.3), Worn(other, 0.4))).painting(checkpoint):
        assert torch.equal(weight, exact.half())


def test_where_a_gpu_has_no_room_the_copies_lie_elsewhere(
    style: LoraFile, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights(checkpoint)
    monkeypatch.setattr(patches, "_has_room", lambda *_: False)

    painted(checkpoint, Outfit(unet=(Worn(style, 1.0),)))
    painted(checkpoint)

    assert same(checkpoint, before)


@contextmanager
def counted(checkpoint: Checkpoint) -> Iterator[list[str]]:
    """Note what each call of the UNet has on."""
    seen: list[str] = []

    def note(*_: object) -> None:
        seen.append("+".join(worn.lora.name for worn in checkpoint.wardrobe.on("unet")))

    hook = checkpoint.modules[0].register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        hook.remove()


def test_jobs_of_different_outfits_are_not_painted_in_turns(style: LoraFile, checkpoint: Checkpoint) -> None:
    engine = wide_engine()
    request = small(steps=36, sampler="DDIM")
    worn = Outfit(unet=(Worn(style, 1.0),))
    engine.admit("plain", request, checkpoint, plan(checkpoint))
    engine.admit("worn", request.changed(steps=3), checkpoint, plan(checkpoint), None, worn)
    engine.admit("other size", small(width=128, steps=3), checkpoint, plan(checkpoint))

    with counted(checkpoint) as seen:
        run = Run(engine)

    changes = [place for place in range(1, len(seen)) if seen[place] != seen[place - 1]]
    assert len(seen) == 42
    assert len(changes) == 2
    assert 20 < changes[0] < 42 - 3
    assert not run.failures
    assert unlikeness(run.latents["worn"], alone_in(worn, request.changed(steps=3), checkpoint)) < 1e-5
    assert unlikeness(run.latents["plain"], alone_in(NOTHING, request, checkpoint)) < 1e-5


def alone_in(outfit: Outfit, request: ImageRequest, checkpoint: Checkpoint) -> Tensor:
    engine = wide_engine()
    engine.admit("alone", request, checkpoint, plan(checkpoint), None, outfit)
    return Run(engine).latents["alone"]


def test_an_outfit_that_can_not_be_put_on_fails_its_own_job_alone(style: LoraFile, checkpoint: Checkpoint) -> None:
    engine = wide_engine()
    engine.admit("plain", small(steps=2), checkpoint, plan(checkpoint))
    far_too_strong = Outfit(unet=tuple(Worn(style, 3e38) for _ in range(80)))
    engine.admit("worn", small(steps=2), checkpoint, plan(checkpoint), None, far_too_strong)

    run = Run(engine)

    assert "too strong" in str(run.failures["worn"].error)
    assert set(run.latents) == {"plain"}
