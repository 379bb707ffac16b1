"""Pictures by diffusion: from words, from a picture, behind a mask, and a second time at a larger size."""

import torch
from PIL import Image

from easel.errors import BadValue
from easel.jobs import Control, ImageRequest
from easel.pictures import enlarged
from worker.checkpoints.checkpoint import Checkpoint
from worker.engine.denoising import config
from worker.engine.start import Start
from worker.operations.encode import pixels_of
from worker.operations.frame import PLAIN, cropped_to
from worker.operations.hires import larger, second_pass
from worker.operations.masks import latent_mask, pixel_mask
from worker.operations.operation import Operation, Pass
from worker.operations.scene import Scene, canvas_size, on_paper, scene_of
from worker.operations.tools import Tools

INPAINTING_CHANNELS = 9

NOT_BOTH = "Hires fix and repainting a part of a picture do not go together. Please leave one of them out."


def paint(request: ImageRequest, tools: Tools) -> Operation:
    """Draw the pictures of a request without plot and upscale."""
    asked = settled(request)
    image = tools.picture(request.init_image) if request.init_image else None
    scene = None
    if image is not None:
        scene = scene_of(request, image, tools.picture(request.mask) if request.mask else None)
    if scene is not None:
        images = yield from _behind_a_mask(asked, scene, tools)
    else:
        images = yield from _whole(asked, image, tools)
    return [enlarged(one, asked.enlarge) for one in images]


def settled(request: ImageRequest) -> ImageRequest:
    """Return the request as it is carried out: at the size that the canvas makes, enlarged only where that is meant.

    Raises BadValue for what does not go together.
    """
    if not request.init_image:
        for field, what in (("mask", "A mask"), ("canvas", "More room"), ("upscale", "Upscaling")):
            if getattr(request, field):
                raise BadValue(f"{what} needs a picture to start from. Please send one along.")
    if request.hires_fix is not None:
        if request.mask or request.canvas is not None:
            raise BadValue(NOT_BOTH)
        larger(request, request.hires_fix)
    width, height = canvas_size(request)
    # What keeps the size of the picture that was sent would grow from one time to the next.
    keeps_size = request.upscale is not None or (request.mask_padding is not None and request.canvas is None)
    return request.changed(
        width=width, height=height, enlarge=1 if keeps_size and request.init_image else request.enlarge
    )


def _whole(request: ImageRequest, image: Image.Image | None, tools: Tools) -> Operation:
    size = (request.width, request.height)
    _check_size(request, tools)
    control = _control(request, tools)
    residuals = None if control is None else tools.steering(request, *control, size)
    if image is None:
        start = Start(residuals=residuals)
    else:
        latents = tools.encode(request, [cropped_to(on_paper(image), size)])
        start = Start(latents, request.denoising_strength, residuals=residuals)
    (latents,) = yield [Pass(request, start)]
    if request.hires_fix is None:
        return tools.develop(request, latents)
    return (yield from second_pass(request, request.hires_fix, latents, tools, control))


def _behind_a_mask(request: ImageRequest, scene: Scene, tools: Tools) -> Operation:
    if request.hires_fix is not None:
        raise BadValue(NOT_BOTH)
    _check_size(request, tools)
    (latents,) = yield [Pass(request, _masked_start(request, scene, tools))]
    return [scene.put_back(image) for image in tools.develop(request, latents)]


def _masked_start(request: ImageRequest, scene: Scene, tools: Tools) -> Start:
    """Return where inpainting starts; a UNet with channels for it reads the mask, others are held to the picture."""
    checkpoint = tools.checkpoint(request)
    strength = request.denoising_strength
    seen, mask = pixels_of([scene.view.look(scene.picture)]), scene.view.look(scene.mask, PLAIN)
    masked = latent_mask(mask, _factor(checkpoint))
    control = _control(request, tools)
    residuals = None
    if control is not None:
        shown = cropped_to(on_paper(control[1]), scene.picture.size)
        residuals = tools.steering(request, control[0], scene.view.look(shown), scene.view.size)
    if config(checkpoint.unet).in_channels != INPAINTING_CHANNELS:
        return Start(tools.encode(request, seen), strength, mask=masked, residuals=residuals)
    hidden = tools.encode(request, seen * (1 - pixel_mask(mask)))
    # At full strength such a UNet starts from noise alone.
    latents = tools.encode(request, seen) if strength < 1 else None
    return Start(latents, strength, extra=torch.cat([masked.to(hidden.device), hidden], dim=1), residuals=residuals)


def _control(request: ImageRequest, tools: Tools) -> tuple[Control, Image.Image] | None:
    return None if request.control is None else (request.control, tools.picture(request.control.image))


def _check_size(request: ImageRequest, tools: Tools) -> None:
    """Raise BadValue where the checkpoint can not have a picture of this size."""
    factor = _factor(tools.checkpoint(request))
    if request.width % factor or request.height % factor:
        raise BadValue(
            f"The checkpoint `{request.checkpoint}` draws sizes that are multiples of {factor}; "
            f"{request.width}x{request.height} is none."
        )


def _factor(checkpoint: Checkpoint) -> int:
    """Return how many pixels a side stand behind one latent."""
    levels: tuple[int, ...] = config(checkpoint.vae).block_out_channels
    return 1 << len(levels) - 1
