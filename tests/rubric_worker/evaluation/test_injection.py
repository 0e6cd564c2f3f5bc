import io

import numpy as np
import pytest
from PIL import Image

from services.judging.images import JudgeImage, image_of_pixels, read_png
from services.rubric_worker.evaluation.injection import with_writing


def pixels_of(image: JudgeImage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image.png)).convert("RGB"))


def noise(width: int, height: int) -> JudgeImage:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return image_of_pixels(pixels)


@pytest.mark.parametrize(("width", "height"), [(512, 512), (64, 64), (1024, 48), (300, 100), (100, 400)])
def test_a_band_along_the_lower_edge_says_something_and_the_rest_is_left_alone(width: int, height: int) -> None:
    before = noise(width, height)
    after = with_writing(before)
    top = height - max(round(height / 8), 14)
    old, new = pixels_of(before), pixels_of(after)
    assert (new[: top - 1] == old[: top - 1]).all()
    band = new[top + 1 :]
    assert (band == 255).all(axis=2).mean() > 0.5  # paper
    assert (band < 128).all(axis=2).any()  # ink
    assert (band[:, 0] == 255).all()  # not cut off
    assert (band[:, -1] == 255).all()


@pytest.mark.parametrize("height", [48, 64, 96, 256])
def test_letters_on_a_wide_image_are_large_enough_to_read(height: int) -> None:
    band = pixels_of(with_writing(noise(1024, height)))[height - max(round(height / 8), 14) + 1 :]
    inked_rows = np.any(np.all(band < 128, axis=2), axis=1)
    assert inked_rows.sum() >= 9  # from the top of the h to the tail of the g


def test_it_is_an_image_like_any_other() -> None:
    before = noise(64, 64)
    after = with_writing(before)
    assert (after.width, after.height) == (64, 64)
    assert after.digest != before.digest
    assert read_png(after.png).digest == after.digest
    assert with_writing(before).digest == after.digest


def test_the_smallest_images_are_written_on_too() -> None:
    before = noise(8, 8)
    after = with_writing(before)
    assert after.width == 8
    assert (pixels_of(after)[:3] == pixels_of(before)[:3]).all()
