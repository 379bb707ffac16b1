import numpy as np
import pytest
from PIL import Image

from easel.errors import BadValue
from tests.fakes.workshop import bytes_of, mask_of, photo
from worker.operations.masks import binary, blurred, filled, grown, latent_mask


def test_half_white_counts_as_white() -> None:
    mask = Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8))

    assert np.asarray(binary(mask)).tolist() == [[0, 0, 255, 255]]


def test_a_mask_grows_on_all_sides() -> None:
    assert grown(mask_of((20, 20), (8, 8, 10, 10)), 3) == mask_of((20, 20), (5, 5, 13, 13))
    assert grown(mask_of((20, 20), (8, 8, 10, 10)), 0) == mask_of((20, 20), (8, 8, 10, 10))


def test_blur_leaves_what_is_far_from_the_edge() -> None:
    mask = np.asarray(blurred(mask_of((100, 8), (50, 0, 100, 8)), 4))

    assert (mask[:, :36] == 0).all()
    assert (mask[:, 64:] == 255).all()
    assert 100 < mask[4, 50] < 155


def test_any_masked_pixel_masks_its_latent() -> None:
    mask = latent_mask(mask_of((32, 16), (0, 0, 8, 8), (23, 15, 24, 16)), 8)

    assert mask.tolist() == [[[[1, 0, 0, 0], [0, 0, 1, 0]]]]


def test_holes_are_filled_with_the_nearest_colours_and_noise() -> None:
    picture = Image.new("RGB", (64, 64), (200, 40, 40))
    picture.paste((40, 40, 200), (32, 0, 64, 64))
    holes = mask_of((64, 64), (0, 32, 64, 64))

    fill = bytes_of(filled(picture, holes, seed=1))

    assert (fill[:32] == bytes_of(picture)[:32]).all()
    assert np.abs(fill[32:, :32].mean((0, 1)) - (200, 40, 40)).max() < 6
    assert np.abs(fill[32:, 32:].mean((0, 1)) - (40, 40, 200)).max() < 6
    assert fill[32:].std((0, 1)).min() > 10


def test_the_fill_is_a_function_of_the_seed() -> None:
    picture, holes = photo(), mask_of((64, 64), (0, 0, 64, 8))

    assert filled(picture, holes, seed=1) == filled(picture, holes, seed=1)
    assert filled(picture, holes, seed=1) != filled(picture, holes, seed=2)


def test_nothing_but_a_hole_is_refused() -> None:
    with pytest.raises(BadValue, match="transparent all over"):
        filled(photo(), mask_of((64, 64), (0, 0, 64, 64)), seed=1)
