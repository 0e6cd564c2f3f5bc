"""What is read from JPEG and WebP files, and the exact pixels that come out."""

import io
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from services.judging.dataset_images import (
    MAX_JPEG_SCANS,
    ImageFormat,
    InvalidImageError,
    check_image,
    load_judge_image,
)
from services.judging.images import read_png

PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def webp(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "WEBP", lossless=True, exact=True, **options)


def pixels_of(data: bytes) -> list[list[list[int]]]:
    with Image.open(io.BytesIO(load_judge_image(data).png), formats=["PNG"]) as image:
        assert image.mode == "RGB"
        pixels: list[list[list[int]]] = np.asarray(image).tolist()
        return pixels


def exif(orientation: int) -> bytes:
    """A TIFF header and one directory with one entry: the orientation."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)


def test_a_png_is_read_as_rewards_read_it() -> None:
    data = encoded(Image.fromarray(PIXELS), "PNG")
    assert load_judge_image(data) == read_png(data)


def test_a_lossless_webp_is_the_same_image_as_the_png_of_its_pixels() -> None:
    picture = Image.fromarray(PIXELS)
    assert load_judge_image(webp(picture)).digest == read_png(encoded(picture, "PNG")).digest


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_an_evenly_grey_jpeg_keeps_its_grey(mode: str, progressive: bool) -> None:
    picture = Image.new("L", (5, 3), 128).convert(mode)
    assert pixels_of(encoded(picture, "JPEG", progressive=progressive)) == [[[128, 128, 128]] * 5] * 3


def test_the_png_for_the_judge_holds_what_the_jpeg_decoder_gave() -> None:
    data = encoded(Image.fromarray(PIXELS), "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        assert pixels_of(data) == np.asarray(image).tolist()


def test_transparency_is_laid_on_white() -> None:
    picture = Image.new("RGBA", (2, 1))
    picture.putdata([(255, 0, 0, 0), (0, 0, 0, 51)])  # nothing of red; a fifth of black: 255 · 0.8 = 204
    assert pixels_of(webp(picture)) == [[[255, 255, 255], [204, 204, 204]]]


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_images_are_turned_upright(format: str) -> None:
    picture = Image.new("L", (16, 8), 128).convert("RGB")
    assert check_image(encoded(picture, format, exif=exif(6))).width == 8
    assert (load_judge_image(encoded(picture, format, exif=exif(6))).height) == 16
    assert check_image(encoded(picture, format, exif=exif(1))).width == 16


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_an_srgb_profile_changes_nothing_and_another_colour_space_is_refused(format: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = Image.new("RGB", (8, 8), (128, 128, 128))
    assert pixels_of(encoded(picture, format, icc_profile=srgb)) == [[[128, 128, 128]] * 8] * 8
    with pytest.raises(InvalidImageError, match="ICC profile that is not RGB"):
        load_judge_image(encoded(picture, format, icc_profile=lab))
    with pytest.raises(InvalidImageError, match="damaged or oversized ICC profile"):
        load_judge_image(encoded(picture, format, icc_profile=b"no profile"))


def animation(format: str) -> bytes:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (animation("WEBP"), "animated WebPs"),
        (animation("PNG"), "animated PNGs"),
        (animation("GIF"), "not a PNG, JPEG or WebP"),
        (encoded(Image.new("RGB", (4, 4)), "BMP"), "not a PNG, JPEG or WebP"),
        (encoded(Image.new("RGB", (4, 4)), "TIFF"), "not a PNG, JPEG or WebP"),
        (encoded(Image.new("CMYK", (4, 4)), "JPEG"), "CMYK"),
        (encoded(Image.new("RGB", (4, 4)), "JPEG", exif=b"Exif\0\0no TIFF header"), "damaged EXIF"),
        (encoded(Image.new("RGB", (4, 4)), "JPEG") + b"\xff\xda" * MAX_JPEG_SCANS, "more than 100 scans"),
        (b"", "not a PNG, JPEG or WebP"),
        (b"\xff\xd8\xff", "the JPEG is damaged"),
        (b"RIFF\0\0\0\0WEBP", "the WebP is damaged"),
        (b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 30, "the WebP is damaged"),
        (b"/etc/passwd", "not a PNG, JPEG or WebP"),
    ],
)
def test_what_cannot_be_judged_is_refused(data: bytes, refusal: str) -> None:
    for read in (load_judge_image, check_image):
        with pytest.raises(InvalidImageError, match=refusal):
            read(data)


def test_of_several_pictures_in_a_jpeg_the_main_one_is_read() -> None:
    frames = [Image.new("RGB", (8, 8), (128, 128, 128)), Image.new("RGB", (16, 16), "black")]
    assert pixels_of(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])) == [[[128, 128, 128]] * 8] * 8


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "PNG"])
def test_sizes_are_limited_before_anything_is_decoded(format: str) -> None:
    data = encoded(Image.new("RGB", (64, 32)), format)
    assert check_image(data, max_pixels=2048, max_side=64) == check_image(data)
    with pytest.raises(InvalidImageError, match="at most 2047 in all"):
        check_image(data, max_pixels=2047)
    with pytest.raises(InvalidImageError, match="at most 63 a side"):
        load_judge_image(data, max_side=63)


def test_a_webp_that_claims_a_huge_canvas_is_refused_by_its_header_alone() -> None:
    header = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (16382).to_bytes(3, "little") * 2
    with pytest.raises(InvalidImageError, match="16383×16383"):
        load_judge_image(header)


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_a_file_that_ends_early_is_refused_wherever_it_ends(format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    data = encoded(noise, format)
    for length in range(len(data) - 2):  # the last two bytes of a JPEG only say that it ends
        with pytest.raises(InvalidImageError):
            check_image(data[:length])


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_flipped_bits_give_pixels_or_a_refusal(format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    data = encoded(noise, format, exif=exif(3))
    for position in range(0, 8 * len(data), 5):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with suppress(InvalidImageError):
            check_image(bytes(flipped), max_pixels=1_000_000)


def test_large_images_are_scaled_down_for_the_judge() -> None:
    image = load_judge_image(encoded(Image.new("RGB", (200, 100)), "JPEG"), judge_max_pixels=64 * 32)
    assert (image.width, image.height) == (64, 32)


@pytest.mark.parametrize(
    ("format", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_formats_have_media_types(format: str, media_type: str) -> None:
    checked = check_image(encoded(Image.new("RGB", (3, 2)), format))
    assert (checked.format.media_type, checked.width, checked.height) == (media_type, 3, 2)
    assert checked.format in set(ImageFormat)
