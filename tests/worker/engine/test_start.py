"""Jobs that bring something along: image-to-image, inpainting and ControlNet are those of diffusers."""

from collections.abc import Sequence
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from easel.catalog import Base
from easel.errors import BadValue
from tests.fakes.engine_jobs import (
    Run,
    alone,
    diffusers_latents,
    pipeline_for,
    plan,
    small,
    tiny,
    unlikeness,
    wide_engine,
)
from worker.checkpoints.checkpoint import Checkpoint
from worker.engine.noise import Noise
from worker.engine.samplers import make_scheduler
from worker.engine.start import Start
from worker.engine.unet import Rows

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t:UserWarning"),
]

NEAR = 5e-5
SAMPLERS = ("Euler a", "DPM++ 2M", "Heun", "DDIM", "PLMS", "UniPC", "DPM++ SDE", "LCM")
LATENTS = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(50))
MASK = torch.zeros(1, 1, 8, 8)
MASK[..., 2:7, 3:] = 1


def pipeline(checkpoint: Checkpoint, name: str, **more: Any) -> Any:
    made = getattr(diffusers, name)(**pipeline_for(checkpoint).components, **more)
    made.set_progress_bar_config(disable=True)
    return made


def scheduler_of(request: Any, checkpoint: Checkpoint) -> Any:
    scheduler = make_scheduler(request.sampler, request.schedule, checkpoint.scheduler_config, request.steps)
    if hasattr(scheduler, "noise_sampler_seed"):
        scheduler.noise_sampler_seed = [request.seed]
    return scheduler


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_image_to_image_is_diffusers(sampler: str) -> None:
    checkpoint, request = tiny(), small(sampler=sampler, steps=7)
    words = plan(checkpoint)

    latents = alone(request, checkpoint, words, Start(LATENTS, denoising_strength=0.6))

    expected = diffusers_latents(
        pipeline(checkpoint, "StableDiffusionImg2ImgPipeline"),
        request,
        words,
        scheduler_of(request, checkpoint),
        image=LATENTS,
        strength=0.6,
    )
    assert unlikeness(latents, expected) < NEAR


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_image_to_image_with_sdxl_is_diffusers(strength: float) -> None:
    checkpoint, request = tiny(Base.SDXL, "v_prediction"), small(sampler="Euler", steps=6)
    words = plan(checkpoint)

    latents = alone(request, checkpoint, words, Start(LATENTS, denoising_strength=strength))

    expected = diffusers_latents(
        pipeline(checkpoint, "StableDiffusionXLImg2ImgPipeline"),
        request,
        words,
        scheduler_of(request, checkpoint),
        image=LATENTS,
        strength=strength,
        original_size=(64, 64),
        target_size=(64, 64),
    )
    assert unlikeness(latents, expected) < NEAR


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "Heun", "DDIM", "PLMS"])
def test_inpainting_with_an_ordinary_checkpoint_is_diffusers(sampler: str, strength: float) -> None:
    checkpoint, request = tiny(), small(sampler=sampler, steps=5)
    words = plan(checkpoint)

    latents = alone(request, checkpoint, words, Start(LATENTS, denoising_strength=strength, mask=MASK))

    expected = diffusers_latents(
        pipeline(checkpoint, "StableDiffusionInpaintPipeline"),
        request,
        words,
        scheduler_of(request, checkpoint),
        image=LATENTS,
        mask_image=MASK.repeat_interleave(8, -1).repeat_interleave(8, -2),
        masked_image_latents=LATENTS,
        strength=strength,
        width=64,
        height=64,
    )
    assert unlikeness(latents, expected) < NEAR
    assert torch.equal(latents[..., :2, :], LATENTS[..., :2, :])


@pytest.mark.parametrize("base", [Base.SD15, Base.SDXL])
def test_inpainting_with_a_checkpoint_made_for_it_is_diffusers(base: Base) -> None:
    checkpoint, request = tiny(base, in_channels=9), small(sampler="Euler a", steps=4)
    words = plan(checkpoint)
    hidden = LATENTS * (MASK < 0.5)

    latents = alone(request, checkpoint, words, Start(extra=torch.cat([MASK, hidden], dim=1)))

    expected = diffusers_latents(
        pipeline_for(checkpoint),
        request,
        words,
        scheduler_of(request, checkpoint),
        image=torch.zeros(1, 3, 64, 64),
        mask_image=MASK.repeat_interleave(8, -1).repeat_interleave(8, -2),
        masked_image_latents=hidden,
        strength=1.0,
        width=64,
        height=64,
    )
    assert unlikeness(latents, expected) < NEAR


def test_a_checkpoint_for_inpainting_wants_a_picture_and_a_mask() -> None:
    checkpoint, engine = tiny(in_channels=9), wide_engine()

    with pytest.raises(BadValue, match="give it a picture and a mask"):
        engine.admit("one", small(), checkpoint, plan(checkpoint))

    assert not engine.busy


def test_an_ordinary_checkpoint_refuses_extra_channels() -> None:
    with pytest.raises(BadValue, match="can not repaint"):
        alone(small(), tiny(), plan(tiny()), Start(extra=torch.zeros(1, 5, 8, 8)))


@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_without_a_step_to_take_the_picture_stays_and_no_call_is_made(strength: float) -> None:
    checkpoint, engine = tiny(), wide_engine()
    engine.admit("kept", small(steps=4), checkpoint, plan(checkpoint), Start(LATENTS, denoising_strength=strength))

    run = Run(engine)

    assert torch.equal(run.latents["kept"], LATENTS)
    assert run.steps == {}


def test_the_share_of_the_steps_is_the_denoising_strength() -> None:
    checkpoint, engine = tiny(), wide_engine()
    engine.admit("half", small(steps=10), checkpoint, plan(checkpoint), Start(LATENTS, denoising_strength=0.5))
    engine.admit(
        "heun", small(steps=10, sampler="Heun"), checkpoint, plan(checkpoint), Start(LATENTS, denoising_strength=0.3)
    )

    run = Run(engine)

    assert run.steps["half"][-1] == (5, 5)
    assert run.steps["heun"][-1] == (5, 5)


def test_different_starts_share_their_calls_and_change_nothing_for_each_other() -> None:
    checkpoint, engine = tiny(), wide_engine()
    starts = {
        "noise": None,
        "image": Start(LATENTS, denoising_strength=0.7),
        "mask": Start(LATENTS, denoising_strength=0.8, mask=MASK),
        "given": Start(noise=LATENTS),
    }
    for name, start in starts.items():
        engine.admit(name, small(steps=5), checkpoint, plan(checkpoint), start)

    run = Run(engine)

    assert run.calls == 5
    for name, start in starts.items():
        assert unlikeness(run.latents[name], alone(small(steps=5), checkpoint, plan(checkpoint), start)) < NEAR


def test_noise_that_is_handed_over_takes_the_place_of_the_seed_s() -> None:
    checkpoint = tiny()
    noise = Noise(1).draw((1, 4, 8, 8))

    given = alone(small(steps=3, seed=99, sampler="DDIM"), checkpoint, plan(checkpoint), Start(noise=noise))

    assert torch.equal(given, alone(small(steps=3, seed=1, sampler="DDIM"), checkpoint, plan(checkpoint)))


def test_every_picture_gets_its_own_part_of_what_is_brought_along() -> None:
    checkpoint, request = tiny(), small(steps=4, batch_size=2)
    both = torch.cat([LATENTS, LATENTS.flip(-1)])

    together = alone(request, checkpoint, plan(checkpoint), Start(both, denoising_strength=0.5))

    second = alone(small(steps=4, seed=2), checkpoint, plan(checkpoint), Start(both[1:], denoising_strength=0.5))
    assert unlikeness(together[1:], second) < NEAR


class Steering:
    """A ControlNet as the engine wants it; it may rest for a share of the steps."""

    def __init__(self, net: Any, hint: Tensor, *, until: float = 1.0) -> None:
        self._net = net
        self._hint = hint
        self._until = until
        self.progress: list[float] = []

    def __call__(self, rows: Rows, progress: float) -> tuple[Sequence[Tensor], Tensor] | None:
        self.progress.append(progress)
        if progress >= self._until:
            return None
        down, middle = self._net(
            rows.sample,
            rows.timesteps,
            encoder_hidden_states=rows.embeds,
            controlnet_cond=self._hint.expand(len(rows.sample), -1, -1, -1),
            added_cond_kwargs=rows.added,
            return_dict=False,
        )
        return down, middle


def control_net(checkpoint: Checkpoint, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net: Any = diffusers.ControlNetModel.from_unet(checkpoint.unet).eval()
        for name, parameter in net.named_parameters():
            # A fresh ControlNet ends in zeros and would say nothing.
            if "controlnet_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize(
    ("base", "name"),
    [(Base.SD15, "StableDiffusionControlNetPipeline"), (Base.SDXL, "StableDiffusionXLControlNetPipeline")],
)
def test_a_control_net_steers_as_in_diffusers(base: Base, name: str) -> None:
    checkpoint, request = tiny(base), small(sampler="Euler a", steps=4)
    words, net = plan(checkpoint), control_net(checkpoint, 3)
    hint = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    latents = alone(request, checkpoint, words, Start(residuals=Steering(net, hint)))

    expected = diffusers_latents(
        pipeline(checkpoint, name, controlnet=net),
        request,
        words,
        scheduler_of(request, checkpoint),
        image=hint,
        width=64,
        height=64,
    )
    assert unlikeness(latents, expected) < NEAR
    assert unlikeness(latents, alone(request, checkpoint, words)) > 0.01


def test_different_control_nets_share_a_call_also_while_one_of_them_rests() -> None:
    checkpoint, engine = tiny(), wide_engine()
    hint = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    nets = {"one": (control_net(checkpoint, 3), 1.0), "other": (control_net(checkpoint, 4), 0.5)}
    for name, (net, until) in nets.items():
        steering = Start(residuals=Steering(net, hint, until=until))
        engine.admit(name, small(steps=4), checkpoint, plan(checkpoint), steering)
    engine.admit("without", small(steps=4), checkpoint, plan(checkpoint))

    run = Run(engine)

    assert run.calls == 8
    for name, (net, until) in nets.items():
        steering = Start(residuals=Steering(net, hint, until=until))
        assert unlikeness(run.latents[name], alone(small(steps=4), checkpoint, plan(checkpoint), steering)) < NEAR
    assert torch.equal(run.latents["without"], alone(small(steps=4), checkpoint, plan(checkpoint)))


def test_a_control_net_is_told_how_far_the_picture_is() -> None:
    checkpoint, steering = tiny(), Steering(None, LATENTS, until=0.0)

    alone(small(steps=4), checkpoint, plan(checkpoint), Start(residuals=steering))

    assert steering.progress == [0, 0.25, 0.5, 0.75]
