"""The one door to all operations: which one a request asks for, and how many UNet calls it will take."""

from easel.jobs import ImageRequest
from easel.samplers import calls
from worker.operations.hires import larger
from worker.operations.operation import Operation
from worker.operations.paint import paint, settled
from worker.operations.plot import FindCard, cells, plot
from worker.operations.scene import on_paper
from worker.operations.tools import Tools


def perform(request: ImageRequest, tools: Tools) -> Operation:
    """Carry a request out; raises `RequestError` or `RenderError` where it can not be."""
    if request.plot is not None:
        return (yield from plot(request, request.plot, tools))
    if request.upscale is not None:
        image = on_paper(tools.picture(settled(request).init_image))
        return [tools.upscaled(image, request.upscale.scale, request.upscale.upscaler)]
    return (yield from paint(request, tools))


def calls_for(request: ImageRequest, find: FindCard) -> int:
    """Return how many UNet calls the request takes, a call for several pictures counting once; 0 without diffusion.

    Raises `RequestError` for a plot that can not be.
    """
    if request.plot is not None:
        return sum(calls_for(cell, find) for row in cells(request, request.plot, find) for cell in row)
    if request.upscale is not None:
        return 0
    strength = request.denoising_strength if request.init_image else 1.0
    total = _calls(request, strength)
    if request.hires_fix is not None:
        total += _calls(larger(request, request.hires_fix), request.hires_fix.denoising_strength)
    return total


def _calls(request: ImageRequest, strength: float) -> int:
    taken = min(int(request.steps * strength), request.steps)
    return calls(request.sampler, taken) if taken else 0
