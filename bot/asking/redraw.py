"""What the buttons under a picture ask for: each makes another request of the one behind the picture."""

from collections.abc import Callable, Mapping

from easel.buttons import Verb
from easel.errors import BadValue
from easel.jobs import MAX_SEED, HiresFix, ImageRequest, Upscale, new_seed

VARIATION = 0.2
SCALE = 2.0
KEPT = 0.35
"""Denoising strength of a second pass that adds detail and leaves the picture what it is."""
HIGHEST = 4.0
LARGEST = 2048
"""Pixels each way that can be drawn."""
WORTH = 1.2
"""A picture is not drawn again to be larger by less."""


def again(request: ImageRequest, _: int) -> ImageRequest:
    """The same with a fresh seed."""
    return request.changed(seed=new_seed())


def vary(request: ImageRequest, n: int) -> ImageRequest:
    """Pictures near picture `n`: its seed with some of another seed's noise."""
    if request.upscale is not None or request.plot is not None:
        raise BadValue("There is nothing to vary here: no seed made this picture alone.")
    return _only(request, n).changed(
        variation_seed=new_seed(), variation_strength=VARIATION, batch_size=request.batch_size
    )


def upscale(request: ImageRequest, n: int) -> ImageRequest:
    """Picture `n` twice as large: drawn again with a second pass, so that it stays a function of its request."""
    if request.plot is not None:
        raise BadValue("A sheet can not be enlarged; please ask for the one picture that you like.")
    if request.upscale is not None:
        return request.changed(upscale=_twice(request.upscale).model_dump())
    if request.mask or request.canvas is not None:
        raise BadValue("What was repainted in part can not be drawn larger. `upscale` with that picture enlarges it.")
    one = _only(request, n)
    before = one.hires_fix or HiresFix(upscaler="Lanczos", denoising_strength=KEPT)
    now = one.hires_fix.scale if one.hires_fix is not None else 1.0
    scale = min(SCALE * now, HIGHEST, LARGEST / max(one.width, one.height))
    if scale < WORTH * now:
        raise BadValue(f"This picture is as large as I can draw it: {LARGEST} pixels each way at most.")
    return one.changed(hires_fix=before.changed(scale=scale).model_dump())


def _twice(asked: Upscale) -> Upscale:
    if asked.scale * SCALE > HIGHEST:
        raise BadValue("This picture is enlarged already, as far as it goes.")
    return asked.changed(scale=asked.scale * SCALE)


def _only(request: ImageRequest, n: int) -> ImageRequest:
    """Return the request of picture `n` alone; as in A1111 only one of the two seeds moves on from picture to picture."""
    if not 0 <= n < request.batch_size:
        raise BadValue("There is no such picture.")
    field = "variation_seed" if request.variation_strength else "seed"
    return request.changed(**{field: (getattr(request, field) + n) % (MAX_SEED + 1)}, batch_size=1)


REDRAWN: Mapping[Verb, Callable[[ImageRequest, int], ImageRequest]] = {"again": again, "vary": vary, "upscale": upscale}
