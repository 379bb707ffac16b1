"""Image to image and inpainting are those of diffusers' own pipelines."""

from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from torch import Tensor

from easel.errors import BadValue, Expired
from easel.jobs import ImageRequest
from tests.fakes.engine_jobs import diffusers_latents, pipeline_for, unlikeness
from tests.fakes.workshop import Workshop, asked, bytes_of, difference, mask_of, photo, scheduler_for
from worker.checkpoints.checkpoint import Checkpoint

# Diffusers' schedulers, on numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

NEAR = 5e-5
BOX = (16, 8, 48, 40)
"""Of the mask, on the borders of latents, where all ways to shrink a mask agree."""


def pipeline(checkpoint: Checkpoint, name: str) -> Any:
    parts = pipeline_for(checkpoint).components
    options = {} if "XL" in name else {"requires_safety_checker": False}
    if "XL" in name:
        parts = {key: part for key, part in parts.items() if key not in {"image_encoder", "feature_extractor"}}
        options = {"add_watermarker": False}
    made = getattr(diffusers, name)(**parts, **options)
    made.set_progress_bar_config(disable=True)
    return made


@torch.inference_mode()
def encoded(pipe: Any, pixels: Tensor) -> Tensor:
    latents: Tensor = pipe.vae.encode(pixels).latent_dist.mode() * pipe.vae.config.scaling_factor
    return latents


@torch.inference_mode()
def decoded(pipe: Any, latents: Tensor) -> Image.Image:
    pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    image: Image.Image = pipe.image_processor.postprocess(pixels, output_type="pil")[0]
    return image


@torch.inference_mode()
def by_diffusers(
    workshop: Workshop, name: str, request: ImageRequest, image: Image.Image, mask: Image.Image | None = None
) -> tuple[Tensor, Image.Image]:
    """Return the latents and the picture of one of diffusers' pipelines on the same modules."""
    checkpoint = workshop.checkpoint(request.checkpoint)
    pipe = pipeline(checkpoint, name)
    size = {"width": request.width, "height": request.height}
    pixels = pipe.image_processor.preprocess(image, resize_mode="crop", **size)
    options: dict[str, Any] = {"image": encoded(pipe, pixels), "strength": request.denoising_strength}
    if mask is not None:
        hidden = pixels * (pipe.mask_processor.preprocess(mask, **size) < 0.5)
        options |= {"mask_image": mask, "masked_image_latents": encoded(pipe, hidden), **size}
    if "XL" in name:
        options |= {"original_size": (request.height, request.width), "target_size": (request.height, request.width)}
    plan = workshop.models.plan(request, checkpoint)
    latents = diffusers_latents(pipe, request, plan, scheduler_for(request, checkpoint), **options)
    return latents, decoded(pipe, latents)


@pytest.mark.parametrize("sampler", ["DDIM", "Euler a", "DPM++ 2M", "Heun"])
@pytest.mark.parametrize("size", [(64, 64), (150, 90), (70, 200)])
def test_image_to_image_is_diffusers(workshop: Workshop, sampler: str, size: tuple[int, int]) -> None:
    image = photo(*size)
    request = asked(sampler=sampler, steps=5, denoising_strength=0.6, height=72, init_image=workshop.keep(image))

    drawn = workshop.draw(request)

    latents, picture = by_diffusers(workshop, "StableDiffusionImg2ImgPipeline", request, image)
    assert unlikeness(drawn.latents[0], latents) < NEAR
    assert difference(drawn.images[0], picture) <= 1
    assert drawn.images[0].size == (64, 72)


def test_image_to_image_with_sdxl_is_diffusers(workshop: Workshop) -> None:
    image = photo()
    request = asked(checkpoint="xl", steps=4, denoising_strength=0.5, init_image=workshop.keep(image))

    drawn = workshop.draw(request)

    latents, picture = by_diffusers(workshop, "StableDiffusionXLImg2ImgPipeline", request, image)
    assert unlikeness(drawn.latents[0], latents) < NEAR
    assert difference(drawn.images[0], picture) <= 1


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("checkpoint", ["tiny", "painter"])
def test_inpainting_is_diffusers(workshop: Workshop, checkpoint: str, strength: float) -> None:
    image, mask = photo(), mask_of((64, 64), BOX)
    request = asked(
        checkpoint=checkpoint,
        steps=4,
        denoising_strength=strength,
        init_image=workshop.keep(image),
        mask=workshop.keep(mask),
        mask_blur=0,
    )

    drawn = workshop.draw(request)

    latents, picture = by_diffusers(workshop, "StableDiffusionInpaintPipeline", request, image, mask)
    assert unlikeness(drawn.latents[0], latents) < NEAR
    overlaid = pipeline(workshop.checkpoint(), "StableDiffusionInpaintPipeline").image_processor.apply_overlay(
        mask, image, picture
    )
    assert difference(drawn.images[0], overlaid) <= 1


@pytest.mark.parametrize("blur", [0, 4])
@pytest.mark.parametrize("enclosing", [(64, 64), (160, 128)])
def test_what_the_mask_keeps_is_untouched(workshop: Workshop, blur: int, enclosing: tuple[int, int]) -> None:
    image, mask = photo(*enclosing), mask_of(enclosing, BOX)
    request = asked(
        width=enclosing[0],
        height=enclosing[1],
        batch_size=2,
        steps=2,
        init_image=workshop.keep(image),
        mask=workshop.keep(mask),
        mask_blur=blur,
    )

    images = workshop.draw(request).images

    far = (
        bytes_of(mask_of(enclosing, (BOX[0] - 3 * blur, BOX[1] - 3 * blur, BOX[2] + 3 * blur, BOX[3] + 3 * blur))) == 0
    )
    for one in images:
        changed = bytes_of(one) != bytes_of(image)
        assert not changed[far].any()
        assert changed[12:36, 20:44].mean() > 0.9
    assert difference(*images) > 10


def test_blur_fades_from_the_painting_to_the_picture(workshop: Workshop) -> None:
    image, mask = photo(), mask_of((64, 64), (32, 0, 64, 64))
    asked_for = asked(steps=2, init_image=workshop.keep(image), mask=workshop.keep(mask), mask_blur=4)

    soft = workshop.draw(asked_for).images[0]

    hard = workshop.draw(asked_for.changed(mask_blur=0)).images[0]
    change = (bytes_of(hard) - bytes_of(image))[:, 32:]
    clear = abs(change) > 60
    share = (bytes_of(soft) - bytes_of(image))[:, 32:][clear] / change[clear]
    assert 0.4 < share.min() < 0.7
    assert share.max() > 0.95


def test_a_thin_line_is_repainted_too(workshop: Workshop) -> None:
    image, mask = photo(), mask_of((64, 64), (29, 0, 31, 64))
    request = asked(steps=2, init_image=workshop.keep(image), mask=workshop.keep(mask), mask_blur=0)

    drawn = workshop.draw(request)

    started = drawn.passes[0].start
    assert started.latents is not None
    assert torch.equal(drawn.latents[0][..., 4:], started.latents[..., 4:])
    assert not torch.equal(drawn.latents[0][..., 3], started.latents[..., 3])


def test_what_is_transparent_is_the_mask(workshop: Workshop) -> None:
    image = photo().convert("RGBA")
    image.putalpha(Image.eval(mask_of((64, 64), BOX), lambda alpha: 255 - alpha))
    request = asked(steps=3, init_image=workshop.keep(image), mask_blur=0)

    drawn = workshop.draw(request)

    changed = bytes_of(drawn.images[0]) != bytes_of(image)
    assert changed[8:40, 16:48].mean() > 0.9
    changed[8:40, 16:48] = False
    assert not changed.any()


def test_what_is_transparent_in_a_mask_is_kept(workshop: Workshop) -> None:
    mask = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), BOX)
    request = asked(steps=2, init_image=workshop.keep(photo()), mask_blur=0)

    picture = workshop.draw(request.changed(mask=workshop.keep(mask))).images[0]

    plain = workshop.draw(request.changed(mask=workshop.keep(mask_of((64, 64), BOX)))).images[0]
    assert difference(picture, plain) == 0


def test_a_mask_wins_over_transparency_which_is_then_paper(workshop: Workshop) -> None:
    image = photo().convert("RGBA")
    image.putalpha(mask_of((64, 64), (0, 0, 64, 32)))
    request = asked(steps=2, init_image=workshop.keep(image), mask=workshop.keep(mask_of((64, 64), (0, 0, 64, 16))))

    picture = workshop.draw(request.changed(mask_blur=0)).images[0]

    assert (bytes_of(picture)[32:] == 255).all()
    assert (bytes_of(picture)[16:32] == bytes_of(image)[16:32]).all()


def test_a_picture_that_is_hardly_transparent_is_drawn_over_as_a_whole(workshop: Workshop) -> None:
    image = photo().convert("RGBA")
    image.putalpha(200)

    drawn = workshop.draw(asked(steps=2, init_image=workshop.keep(image)))

    assert drawn.passes[0].start.mask is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mask": "m"}, "A mask needs a picture"),
        ({"canvas": {"left": 8}}, "More room needs a picture"),
        ({"upscale": {}}, "Upscaling needs a picture"),
        ({"init_image": "p", "canvas": {}}, "no room to paint"),
        ({"init_image": "p", "canvas": {"left": 1024, "right": 1024}}, "would become 2112x64; at most 2048x2048"),
        ({"init_image": "p", "mask": "black"}, "mask is empty"),
        ({"init_image": "p", "mask": "wide"}, "mask is 64x32, but the picture 64x64"),
        ({"init_image": "p", "mask": "m", "hires_fix": {}}, "do not go together"),
        ({"init_image": "nothing"}, "transparent all over"),
        ({"init_image": "half", "hires_fix": {}}, "do not go together"),
        ({"init_image": "text"}, "can not be opened"),
        ({"width": 1024, "hires_fix": {"scale": 4}}, "Hires fix would make 4096x256"),
    ],
)
def test_what_can_not_be_is_said(workshop: Workshop, changes: dict[str, Any], words: str) -> None:
    pictures = {
        "p": photo(),
        "m": mask_of((64, 64), BOX),
        "black": mask_of((64, 64)),
        "wide": mask_of((64, 32), BOX),
        "nothing": Image.new("RGBA", (64, 64)),
        "half": Image.merge("RGBA", (*photo().split(), mask_of((64, 64), BOX))),
    }
    kept = {name: workshop.keep(image) for name, image in pictures.items()} | {"text": workshop.keep_bytes(b"text")}
    named = {key: kept.get(value, value) if isinstance(value, str) else value for key, value in changes.items()}

    with pytest.raises(BadValue, match=words):
        workshop.draw(asked(**named))


def test_a_checkpoint_for_inpainting_wants_a_mask(workshop: Workshop) -> None:
    with pytest.raises(BadValue, match="give it a picture and a mask"):
        workshop.draw(asked(checkpoint="painter", init_image=workshop.keep(photo())))


def test_a_picture_that_is_gone_says_so(workshop: Workshop) -> None:
    with pytest.raises(Expired):
        workshop.draw(asked(init_image="forgotten"))


def test_a_seamless_picture_stays_seamless(workshop: Workshop) -> None:
    shifted = asked(steps=2, tiling=True, denoising_strength=0, init_image=workshop.keep(rolled(photo())))
    plain = asked(steps=2, tiling=True, denoising_strength=0, init_image=workshop.keep(photo()))

    picture = workshop.draw(shifted).images[0]

    # Nothing is at the edge of a picture without edges.
    assert difference(picture, rolled(workshop.draw(plain).images[0])) <= 1


def rolled(image: Image.Image) -> Image.Image:
    rows = torch.from_numpy(bytes_of(image)).roll((24, 40), (0, 1)).numpy()
    return Image.fromarray(rows.astype("uint8"))


def test_the_factor_of_the_card_enlarges_pictures_but_not_what_keeps_its_size(workshop: Workshop) -> None:
    image = workshop.keep(photo(96, 96))
    request = asked(steps=1, enlarge=3, init_image=image)
    part = request.changed(mask=workshop.keep(mask_of((96, 96), BOX)), mask_padding=8)

    assert workshop.draw(request).images[0].size == (192, 192)
    assert workshop.draw(part).images[0].size == (96, 96)
    assert workshop.draw(request.changed(upscale={"scale": 2})).images[0].size == (192, 192)
