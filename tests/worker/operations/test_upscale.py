import pytest
import torch
from PIL import Image

from easel.errors import BadValue, Cancelled, UnknownModel
from tests.fakes.workshop import Workshop, asked, difference, mask_of, photo
from worker.operations.tools import Tools
from worker.upscale.upscale import upscale


def test_a_picture_is_enlarged_without_diffusion(workshop: Workshop) -> None:
    image = photo(50, 30)

    drawn = workshop.draw(asked(init_image=workshop.keep(image), upscale={"scale": 2.5}, batch_size=3))

    assert len(drawn.images) == 1
    assert difference(drawn.images[0], image.resize((125, 75), Image.Resampling.LANCZOS)) == 0
    assert drawn.passes == []


def test_a_network_of_the_catalog_enlarges(workshop: Workshop) -> None:
    image = photo(50, 30)

    (picture,) = workshop.draw(asked(init_image=workshop.keep(image), upscale={"upscaler": "twice"})).images

    expected = upscale(image, 2, workshop.models.upscaler("twice"), torch.device("cpu"))
    assert difference(picture, expected) == 0
    assert difference(picture, image.resize((100, 60), Image.Resampling.LANCZOS)) > 20


def test_what_is_transparent_becomes_paper(workshop: Workshop) -> None:
    image = photo(32, 32).convert("RGBA")
    image.putalpha(mask_of((32, 32), (0, 0, 32, 16)))

    (picture,) = workshop.draw(asked(init_image=workshop.keep(image), upscale={})).images

    assert picture.mode == "RGB"
    assert picture.getpixel((10, 60)) == (255, 255, 255)


def test_what_would_be_too_large_is_refused(workshop: Workshop) -> None:
    name = workshop.keep(Image.new("RGB", (4096, 2049)))

    with pytest.raises(BadValue, match="16384x8196, which is too large"):
        workshop.draw(asked(init_image=name, upscale={"scale": 4}))


def test_an_unknown_upscaler_is_named(workshop: Workshop) -> None:
    with pytest.raises(UnknownModel, match="no upscaler called `ultra`"):
        workshop.draw(asked(init_image=workshop.keep(photo()), upscale={"upscaler": "ultra"}))


@pytest.mark.parametrize("scale", [2, 3])
def test_a_cancelled_job_stops_enlarging(workshop: Workshop, scale: int) -> None:
    tools = Tools(workshop.models, workshop.fetch, lambda: True)

    with pytest.raises(Cancelled):
        tools.upscaled(photo(), scale, "twice")
