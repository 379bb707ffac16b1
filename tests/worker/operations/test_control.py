"""ControlNets in each kind of operation."""

from typing import Any

import pytest
import torch

from easel.errors import ModelUnusable, UnknownModel
from easel.jobs import ImageRequest
from tests.fakes.engine_jobs import unlikeness
from tests.fakes.workshop import Workshop, asked, mask_of, photo


def steered(workshop: Workshop, **changes: Any) -> ImageRequest:
    control = {"model": "edges", "image": workshop.keep(photo(100, 100, seed=9)), "preprocessor": "none"}
    return asked(**{"steps": 2, "control": control} | changes)


@pytest.mark.parametrize("kind", ["words", "picture", "mask", "part", "canvas", "hires"])
def test_every_kind_of_picture_can_be_steered(workshop: Workshop, kind: str) -> None:
    image, mask = workshop.keep(photo(96, 80)), workshop.keep(mask_of((96, 80), (20, 20, 60, 60)))
    kinds: dict[str, dict[str, Any]] = {
        "words": {},
        "picture": {"init_image": image},
        "mask": {"init_image": image, "mask": mask},
        "part": {"init_image": image, "mask": mask, "mask_padding": 8},
        "canvas": {"init_image": image, "canvas": {"left": 32}},
        "hires": {"hires_fix": {"scale": 1.5}},
    }
    request = steered(workshop, **kinds[kind])

    drawn = workshop.draw(request)

    free = workshop.draw(request.changed(control=None))
    for latents, other in zip(drawn.latents, free.latents, strict=True):
        assert unlikeness(latents, other) > 1e-3


def test_a_part_of_a_picture_follows_the_same_part_of_the_other(workshop: Workshop) -> None:
    image, mask = workshop.keep(photo(128, 128)), workshop.keep(mask_of((128, 128), (64, 64, 128, 128)))
    guide = photo(128, 128, seed=9)
    part = steered(
        workshop,
        init_image=image,
        mask=mask,
        mask_padding=0,
        mask_blur=0,
        control={"model": "edges", "image": workshop.keep(guide), "preprocessor": "none"},
    )

    drawn = workshop.draw(part)

    cut = guide.crop((64, 64, 128, 128))
    same = workshop.draw(
        part.changed(
            control={"model": "edges", "image": workshop.keep(cut), "preprocessor": "none"},
            init_image=workshop.keep(photo(128, 128).crop((64, 64, 128, 128))),
            mask=workshop.keep(mask_of((64, 64), (0, 0, 64, 64))),
            mask_padding=None,
        )
    )
    assert torch.equal(drawn.latents[0], same.latents[0])


def test_a_control_net_of_another_base_is_refused(workshop: Workshop) -> None:
    with pytest.raises(ModelUnusable, match=r"made for SD 1\.5, but the checkpoint `xl` is SDXL"):
        workshop.draw(steered(workshop, checkpoint="xl"))


def test_an_unknown_control_net_is_named(workshop: Workshop) -> None:
    with pytest.raises(UnknownModel, match="no ControlNet called `depth`"):
        workshop.draw(steered(workshop, control={"model": "depth", "image": workshop.keep(photo())}))
