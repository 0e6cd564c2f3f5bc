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


@pytest.mark.parametrize(("width", "height"), [(512, 512), (64, 64), (300, 100), (100, 400)])
def test_a_band_along_the_lower_edge_says_something_and_the_rest_is_left_alone(width: int, height: int) -> None:
    before = noise(width, height)
    after = with_writing(before)
    top = height * 7 // 8
    old, new = pixels_of(before), pixels_of(after)
    assert (new[: top - 1] == old[: top - 1]).all()
    band = new[top + 1 :]
    assert (band == 255).all(axis=2).mean() > 0.5  # paper
    assert (band < 128).all(axis=2).any()  # ink
    assert (band[:, 0] == 255).all()  # not cut off
    assert (band[:, -1] == 255).all()


def test_it_is_an_image_like_any_other() -> None:
    before = noise(64, 64)
    after = with_writing(before)
    assert (after.width, after.height) == (64, 64)
    assert after.digest != before.digest
    assert read_png(after.png).digest == after.digest
    assert with_writing(before).digest == after.digest


def test_the_smallest_images_are_written_on_too() -> None:
    assert with_writing(noise(8, 8)).width == 8
