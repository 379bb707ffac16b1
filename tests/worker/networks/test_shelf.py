"""Networks named in prompts, through the renderer: found, checked, worn, told of, and gone without a trace."""

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from easel.catalog import Base
from easel.errors import BadValue, ModelUnusable, UnknownModel
from easel.infotext.text import parse
from easel.jobs import ImageRequest
from easel.library import WatchedLibrary
from tests.fakes.engine_jobs import Run, tiny, wide_engine
from tests.fakes.model_place import Place
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from tests.fakes.trained_loras import Trained, train_checkpoint
from tests.fakes.workshop import asked
from worker.checkpoints.checkpoint import Checkpoint
from worker.diffusers_renderer import DiffusersRenderer
from worker.models import Models
from worker.renderer import Failed, Finished

SAYS = """
    models:
      tiny: {kind: checkpoint, path: Stable-diffusion/tiny, base: sd15}
      ink: {kind: lora, path: Lora/ink.safetensors, aliases: [tusche], autov3: 0123456789ab}
      glow: {kind: embedding, path: embeddings/glow.safetensors, sha256: %s}
"""

ACTIVATED = {"activation_func": "relu", "activate_output": "false"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("place"))
    save_folder(tiny_checkpoint(Base.SD15), place.models / "Stable-diffusion" / "tiny")
    loras = place.models / "Lora"
    sd, xl = tiny(Base.SD15), tiny(Base.SDXL)
    kinds = {"pencil": "lora", "ink": "dora", "oil": "loha", "chalk": "lokr", "wax": "oft"}
    for seed, (name, algorithm) in enumerate(kinds.items()):
        save_file(_few(train_checkpoint(sd, algorithm, 100 * seed), seed), _in(loras, f"{name}.safetensors"))
    save_file(train_checkpoint(xl).weights, loras / "foreign.safetensors")
    nameless = {"lora_unet_mid_block_attentions_0_proj_in.diff": torch.ones(8, 8)}
    save_file(nameless, loras / "nameless.safetensors")
    odd = {"lora_unet_no_such_place.diff": torch.ones(3, 3), "whatever": torch.ones(1)}
    save_file(_few(train_checkpoint(sd), 1) | odd, loras / "odd.safetensors")
    save_file(_hypernetwork(), _in(place.models / "hypernetworks", "bend.safetensors"), ACTIVATED)
    save_file({"emb_params": torch.ones(2, 32)}, _in(place.models / "embeddings", "glow.safetensors"))
    place.says(SAYS % ("ab" * 32))
    return place


def _in(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _few(trained: Trained, seed: int) -> dict[str, Tensor]:
    """Return the weights of some of the layers, others for each seed."""
    chosen = random.Random(seed).sample(sorted(trained.layers), 40)
    return Trained({name: trained.layers[name] for name in chosen}).weights


def _hypernetwork() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        f"{width}.{side}.linear.{place}.{kind}": torch.randn(shape, generator=generator) * 0.3
        for width in (16, 32)
        for side in (0, 1)
        for place in (0, 2)
        for kind, shape in (("weight", (width, width)), ("bias", (width,)))
    }


@pytest.fixture(scope="module")
def library(place: Place) -> WatchedLibrary:
    return WatchedLibrary(place.settings())


@pytest.fixture(scope="module")
def models(library: WatchedLibrary) -> Models:
    return Models(library, device=torch.device("cpu"))


@pytest.fixture
def renderer(library: WatchedLibrary) -> Iterator[DiffusersRenderer]:
    made = DiffusersRenderer(library, device="cpu")
    yield made
    made.close()


def drawn(renderer: DiffusersRenderer, request: ImageRequest) -> Finished | Failed:
    renderer.admit("job", request)
    while renderer.busy:
        for event in renderer.step():
            if isinstance(event, Finished | Failed):
                return event
    raise AssertionError("the job ended without a word")


def latents(models: Models, request: ImageRequest) -> Tensor:
    checkpoint, engine = models.checkpoint("tiny"), wide_engine()
    outfit = models.outfit(request, checkpoint)
    engine.admit("job", request, checkpoint, models.plan(request, checkpoint, outfit=outfit), None, outfit)
    run = Run(engine)
    assert not run.failures
    return run.latents["job"]


def parameters(checkpoint: Checkpoint) -> list[Tensor]:
    return [weight for module in checkpoint.modules for weight in module.parameters()]


def test_a_hundred_jobs_leave_no_trace(models: Models) -> None:
    request = asked(steps=1)
    fresh = latents(models, request)
    dice = random.Random(7)
    names = ["lora:pencil", "lora:ink", "lora:oil", "lora:chalk", "lora:wax", "hypernet:bend"]

    for n in range(100):
        tags = [f"<{name}:{dice.uniform(-1, 2):.2f}>" for name in dice.sample(names, dice.choice([0, 0, 1, 1, 2, 3]))]
        latents(models, request.changed(prompt=f"a fox {''.join(tags)}", seed=n % 5))

    assert torch.equal(latents(models, request), fresh)
    checkpoint = models.checkpoint("tiny")
    models.plan(request.changed(prompt="never said before"), checkpoint)
    pristine = parameters(tiny(Base.SD15))
    assert all(torch.equal(one, other) for one, other in zip(parameters(checkpoint), pristine, strict=True))
    assert not [module for module in checkpoint.modules[0].modules() if module._forward_pre_hooks]


@pytest.mark.parametrize("tag", ["<lora:pencil:1>", "<lora:tusche:0.5:2>", "<hypernet:bend:1>", "<lyco:oil:-1>"])
def test_a_job_after_one_with_networks_is_the_picture_it_was_before(renderer: DiffusersRenderer, tag: str) -> None:
    request = asked(steps=2)
    before = drawn(renderer, request)
    worn = drawn(renderer, request.changed(prompt=f"{request.prompt} {tag}"))
    after = drawn(renderer, request)

    assert isinstance(before, Finished)
    assert isinstance(worn, Finished)
    assert isinstance(after, Finished)
    assert after.pictures == before.pictures
    assert _pixels(worn) != _pixels(before)


def _pixels(finished: Finished) -> list[bytes]:
    return re.findall(rb"IDAT(.+?)IEND", finished.pictures[0], re.DOTALL)


def test_weight_nought_changes_nothing(models: Models) -> None:
    request = asked(steps=1)
    bare = models.outfit(request, models.checkpoint("tiny"))

    idle = models.outfit(request.changed(prompt="<lora:pencil:0><hypernet:bend:0>"), models.checkpoint("tiny"))

    assert idle == bare


def test_a_network_of_another_base_is_refused_by_the_worker_too(models: Models, renderer: DiffusersRenderer) -> None:
    checkpoint = models.checkpoint("tiny")

    with pytest.raises(BadValue, match="The LoRA `foreign` was made for SDXL, and the checkpoint `tiny` is SD 1"):
        models.outfit(asked(prompt="<lora:foreign:1>"), checkpoint)
    with pytest.raises(ModelUnusable, match="The LoRA `nameless` was made for another kind of checkpoint"):
        models.outfit(asked(prompt="<lora:nameless:1>"), checkpoint)
    with pytest.raises(UnknownModel, match="no LoRA called `pensil`"):
        renderer.admit("job", asked(prompt="<lora:pensil:1>"))
    assert isinstance(refused := drawn(renderer, asked(prompt="<lora:foreign:1>")), Failed)
    assert isinstance(refused.error, BadValue)
    assert isinstance(drawn(renderer, asked(steps=1)), Finished)


def test_what_matched_nothing_is_told(renderer: DiffusersRenderer) -> None:
    finished = drawn(renderer, asked(steps=1, prompt="<lora:odd:1>"))

    assert isinstance(finished, Finished)
    assert finished.notes == (
        "Of the LoRA `odd`, 1 of 41 parts mean nothing in this checkpoint; they were left out.",
        "In the LoRA `odd`, 1 tensors have names that are not known here; they were left out.",
    )


def test_the_infotext_names_the_hashes_that_are_known(renderer: DiffusersRenderer) -> None:
    prompt = "a fox <lora:tusche:0.5> <lora:ink:0.1>"
    finished = drawn(renderer, asked(steps=1, prompt=prompt, negative_prompt="glow"))

    assert isinstance(finished, Finished)
    settings = parse(finished.infotexts[0]).settings
    assert settings["Lora hashes"] == "tusche: 0123456789ab, ink: 0123456789ab"
    assert settings["TI hashes"] == "glow: ababababab"


def test_a_file_is_read_again_once_it_changes(place: Place, models: Models) -> None:
    request: Any = asked(prompt="<lora:pencil:1>")
    checkpoint = models.checkpoint("tiny")
    once = models.outfit(request, checkpoint)
    assert models.outfit(request, checkpoint) == once

    file = place.models / "Lora" / "pencil.safetensors"
    os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 1))

    assert models.outfit(request, checkpoint) != once
