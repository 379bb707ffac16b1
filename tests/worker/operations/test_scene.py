"""Canvases, and drawing only what is masked."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.fakes.workshop import Workshop, asked, bytes_of, difference, mask_of, photo


@pytest.mark.parametrize("checkpoint", ["tiny", "painter"])
def test_a_canvas_adds_room_and_keeps_the_picture(workshop: Workshop, checkpoint: str) -> None:
    image = photo(96, 96)
    canvas = {"left": 64, "top": 8, "bottom": 24}
    request = asked(
        checkpoint=checkpoint, width=96, height=96, steps=2, init_image=workshop.keep(image), canvas=canvas, mask_blur=2
    )

    drawn = workshop.draw(request)

    (picture,) = drawn.images
    assert picture.size == (160, 128)
    assert drawn.passes[0].request.width == 160
    kept = bytes_of(picture)[8:104, 64:]
    # The seam is blended: twice the blur, and what the blur itself reaches. The right side has none.
    assert (kept[14:-14, 14:] == bytes_of(image)[14:-14, 14:]).all()
    assert (kept[:4] != bytes_of(image)[:4]).any()


def test_nothing_of_the_continued_edges_is_left(workshop: Workshop) -> None:
    image = Image.new("RGB", (64, 64), (250, 10, 10))
    request = asked(
        steps=4, denoising_strength=1, init_image=workshop.keep(image), canvas={"right": 64}, mask_blur=4, seed=3
    )

    first = workshop.draw(request)

    # At full strength the new half knows nothing of what was put there.
    assert np.abs(bytes_of(first.images[0])[:, 64:].mean((0, 1)) - (250, 10, 10)).max() > 60


def test_room_is_added_to_a_picture_at_the_size_of_the_request(workshop: Workshop) -> None:
    request = asked(steps=1, init_image=workshop.keep(photo(200, 200)), canvas={"left": 64})

    assert workshop.draw(request).images[0].size == (128, 64)


def test_zooming_out_keeps_the_size(workshop: Workshop) -> None:
    image = photo(128, 96)
    request = asked(
        width=128, height=96, steps=2, init_image=workshop.keep(image), canvas={"zoom": 2}, mask_blur=0, enlarge=2
    )

    (picture,) = workshop.draw(request.changed(enlarge=1)).images

    small = image.resize((64, 48), Image.Resampling.LANCZOS)
    assert picture.size == (128, 96)
    assert difference(picture.crop((32, 24, 96, 72)), small) == 0
    assert workshop.draw(request).images[0].size == (256, 192)


def test_a_mask_on_a_canvas_is_repainted_too(workshop: Workshop) -> None:
    image, mask = photo(), mask_of((64, 64), (24, 24, 40, 40))
    request = asked(
        steps=2, init_image=workshop.keep(image), mask=workshop.keep(mask), canvas={"left": 32}, mask_blur=0
    )

    picture = bytes_of(workshop.draw(request).images[0])

    changed = (picture[:, 32:] != bytes_of(image)).any(2)
    assert changed[24:40, 24:40].all()
    changed[24:40, 24:40] = False
    assert not changed.any()


def test_only_the_masked_part_is_drawn_at_full_size(workshop: Workshop) -> None:
    image, mask = photo(300, 200), mask_of((300, 200), (100, 60, 124, 84))
    request = asked(steps=3, init_image=workshop.keep(image), mask=workshop.keep(mask), mask_padding=4, mask_blur=0)

    drawn = workshop.draw(request)

    (picture,) = drawn.images
    assert picture.size == (300, 200)
    changed = (bytes_of(picture) != bytes_of(image)).any(2)
    assert changed[60:84, 100:124].mean() > 0.9
    changed[60:84, 100:124] = False
    assert not changed.any()
    start = drawn.passes[0].start
    assert start.mask is not None
    # 32 pixels are drawn on 64: the mask takes 24 of them.
    assert start.mask.sum() == 36


def test_a_picture_too_narrow_for_the_frame_keeps_its_shape(workshop: Workshop) -> None:
    image, mask = photo(40, 120), mask_of((40, 120), (0, 0, 40, 120))
    request = asked(
        steps=2, denoising_strength=0, init_image=workshop.keep(image), mask=workshop.keep(mask), mask_padding=0
    )

    drawn = workshop.draw(request.changed(mask_blur=0))

    started = drawn.passes[0].start.latents
    assert started is not None
    whole = workshop.tools.encode(request, [Image.new("RGB", (64, 64))])
    assert started.shape == whole.shape
    assert drawn.images[0].size == (40, 120)


def test_a_line_that_the_blur_swallows_is_still_found(workshop: Workshop) -> None:
    image, mask = photo(), mask_of((64, 64), (30, 30, 31, 31))
    request = asked(steps=1, init_image=workshop.keep(image), mask=workshop.keep(mask), mask_padding=2, mask_blur=64)

    assert workshop.draw(request).images[0].size == (64, 64)


def test_every_picture_of_a_batch_is_put_back(workshop: Workshop) -> None:
    image, mask = photo(100, 100), mask_of((100, 100), (10, 10, 60, 60))
    request = asked(
        steps=2, batch_size=2, init_image=workshop.keep(image), mask=workshop.keep(mask), mask_padding=4, mask_blur=2
    )

    together = workshop.draw(request)

    second = workshop.draw(request.changed(batch_size=1, seed=2))
    assert difference(together.images[1], second.images[0]) <= 1
    assert torch.isfinite(together.latents[0]).all()
