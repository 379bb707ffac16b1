"""Cropping and views, against diffusers' image processor, whose crops are those of A1111."""

import numpy as np
import pytest
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from easel.errors import BadValue
from tests.fakes.workshop import bytes_of, difference, mask_of, photo
from worker.operations.frame import View, cropped_to, region_around, same_shape

SIDES = st.integers(1, 70)


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_picture_is_cropped_as_in_diffusers(width: int, height: int, to_width: int, to_height: int) -> None:
    image = photo(width, height)

    cropped = cropped_to(image, (to_width, to_height))

    expected = VaeImageProcessor().resize(image, to_height, to_width, resize_mode="crop")
    assert difference(cropped, expected) == 0


def test_a_fitting_picture_is_left_alone() -> None:
    image = photo(64, 48)

    assert cropped_to(image, (64, 48)) is image


def test_a_long_strip_does_not_grow_on_the_way() -> None:
    strip = Image.new("RGB", (100, 2000), "red")

    assert cropped_to(strip, (2048, 64)).size == (2048, 64)


@given(st.data())
def test_the_region_around_a_mask_is_that_of_diffusers(data: st.DataObject) -> None:
    width, height = data.draw(SIDES), data.draw(SIDES)
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    size, padding = (data.draw(SIDES), data.draw(SIDES)), data.draw(st.integers(0, 40))
    mask = mask_of((width, height), (left, top, right, bottom))

    region = region_around(mask, size, padding)

    assert region == VaeImageProcessor.get_crop_region(mask, *size, pad=padding)
    assert region[0] <= left < right <= region[2]
    assert region[1] <= top < bottom <= region[3]


@given(st.data())
def test_what_a_view_shows_can_be_put_back_without_a_trace(data: st.DataObject) -> None:
    image = photo(60, 50)
    left, top = data.draw(st.integers(0, 50)), data.draw(st.integers(0, 40))
    width, height = data.draw(st.integers(1, 60 - left)), data.draw(st.integers(1, 50 - top))
    view = View.of((left, top, left + width, top + height), (width, height))

    seen = view.look(image)

    assert difference(seen, image.crop((left, top, left + width, top + height))) == 0
    assert difference(view.put_back(seen, image), image) == 0


def test_a_view_of_another_shape_continues_its_edges() -> None:
    image = photo(64, 32)
    view = View.of((0, 0, 64, 32), (64, 64))

    seen = bytes_of(view.look(image))

    assert view.inner == (0, 16, 64, 48)
    assert (seen[16:48] == bytes_of(image)).all()
    assert (seen[:16] == bytes_of(image)[:1]).all()
    assert (seen[48:] == bytes_of(image)[-1:]).all()
    assert difference(view.put_back(view.look(image), Image.new("RGB", (64, 32))), image) == 0


def test_a_small_part_is_drawn_large_and_put_back_small() -> None:
    image = photo(100, 100)
    view = View.of((10, 20, 42, 52), (64, 64))
    painted = Image.new("RGB", (64, 64), "red")

    back = bytes_of(view.put_back(painted, image))

    assert view.look(image).size == (64, 64)
    assert (back[20:52, 10:42] == (255, 0, 0)).all()
    back[20:52, 10:42] = bytes_of(image)[20:52, 10:42]
    assert (back == bytes_of(image)).all()


def test_a_mask_is_brought_to_the_picture_s_size() -> None:
    mask = mask_of((128, 64), (0, 0, 64, 64))

    fitted = np.asarray(same_shape(mask, (64, 32)))

    assert fitted.shape == (32, 64)
    assert (fitted[:, :30] == 255).all()
    assert (fitted[:, 34:] == 0).all()


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(BadValue, match="The mask is 64x64, but the picture 64x32"):
        same_shape(mask_of((64, 64)), (64, 32))
