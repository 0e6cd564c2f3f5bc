import io

import numpy as np
import pytest
import torch
from PIL import Image

from reward_client.images import PNG_COMPRESS_LEVEL, to_png

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3) * 4
"""[H, W, 3], every value another one, so that a mixed-up axis shows."""


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def floats() -> np.ndarray:
    return (PIXELS.transpose(2, 0, 1) / 255).astype(np.float32)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        floats(),
        floats().astype(np.float64),
        torch.from_numpy(floats()),
        torch.from_numpy(floats()).requires_grad_(),
        torch.from_numpy(floats()).to(torch.float16),
    ],
    ids=["pil", "uint8", "float32", "float64", "tensor", "tensor with gradient", "half precision"],
)
def test_every_kind_of_picture_arrives_pixel_by_pixel(image) -> None:
    np.testing.assert_array_equal(decoded(to_png(image)), PIXELS)


def test_bfloat16_arrives_as_precise_as_it_is() -> None:
    tensor = torch.from_numpy(floats()).to(torch.bfloat16)
    np.testing.assert_array_equal(
        decoded(to_png(tensor)), (tensor.float() * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    )


def test_png_bytes_are_sent_as_they_are() -> None:
    png = to_png(PIXELS)
    assert to_png(png) is png


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_modes_that_png_holds_are_kept(mode) -> None:
    picture = Image.new(mode, (3, 2))
    assert Image.open(io.BytesIO(to_png(picture))).size == (3, 2)


def test_modes_that_png_does_not_hold_become_rgb() -> None:
    cyan = Image.new("CMYK", (2, 2), (255, 0, 0, 0))
    assert decoded(to_png(cyan)).tolist() == [[[0, 255, 255]] * 2] * 2


def test_encoding_is_fast_rather_than_small() -> None:
    assert PNG_COMPRESS_LEVEL == 1


def test_rounding_errors_of_a_decoder_are_clipped() -> None:
    picture = np.array([-0.0005, 0.5, 1.0005], dtype=np.float32).reshape(3, 1, 1)
    assert decoded(to_png(picture)).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 4, 4), dtype=np.uint8), r"\[H, W, 3\]"),
        (np.zeros((4, 4, 3), dtype=np.float32), r"\[3, H, W\]"),
        (np.zeros((2, 3, 4, 4), dtype=np.float32), r"\[3, H, W\]"),
        (np.zeros((3, 4, 4), dtype=np.int64), "not int64"),
        (np.full((3, 2, 2), np.nan, dtype=np.float32), "NaN"),
        (np.full((3, 2, 2), -1.0, dtype=np.float32), r"x / 2 \+ 0.5"),
        (np.full((3, 2, 2), 255.0, dtype=np.float32), r"\[0, 1\]"),
        (b"GIF89a", "not a PNG"),
    ],
)
def test_what_is_no_picture_is_explained(image, message) -> None:
    with pytest.raises(ValueError, match=message):
        to_png(image)


def test_a_thing_that_is_no_picture_at_all_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="str"):
        to_png("path/to/image.png")
