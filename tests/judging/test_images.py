"""What may enter as an image, and the exact pixels that come out."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from services.judging.images import InvalidImageError, image_digest, judged_size, read_png

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, *, depth: int, colour: int, rows: bytes, before: bytes = b"", interlace: int = 0
) -> bytes:
    """A PNG from scanlines that already carry their filter bytes, with extra chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pixels_of(data: bytes) -> list[list[list[int]]]:
    """The pixels that the judge gets, decoded from the file that it gets."""
    with Image.open(io.BytesIO(read_png(data).png)) as image:
        assert image.mode == "RGB"
        pixels: list[list[list[int]]] = np.asarray(image).tolist()
        return pixels


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """The same PNG with one more chunk after its header."""
    return data[:33] + chunk(kind, content) + data[33:]


@pytest.fixture
def small(encode: Callable[[Image.Image], bytes]) -> bytes:
    pixels = np.arange(5 * 3 * 3, dtype=np.uint8).reshape(3, 5, 3)
    return encode(Image.fromarray(pixels))


def test_a_plain_rgb_png_travels_unchanged(small: bytes) -> None:
    image = read_png(small)
    assert image.png == small
    assert (image.width, image.height) == (5, 3)


def test_the_digest_names_pixels_and_not_files(small: bytes, encode: Callable[[Image.Image], bytes]) -> None:
    with Image.open(io.BytesIO(small)) as opened:
        again = io.BytesIO()
        opened.save(again, format="PNG", compress_level=0)
    assert again.getvalue() != small
    assert read_png(again.getvalue()).digest == read_png(small).digest


def test_one_changed_sample_changes_the_digest(small: bytes, encode: Callable[[Image.Image], bytes]) -> None:
    pixels = np.arange(5 * 3 * 3, dtype=np.uint8).reshape(3, 5, 3)
    pixels[2, 4, 2] ^= 1
    assert read_png(encode(Image.fromarray(pixels))).digest != read_png(small).digest


def test_equal_bytes_in_another_shape_are_another_image() -> None:
    pixels = np.zeros((30, 150, 3), np.uint8)
    assert image_digest(pixels) != image_digest(pixels.reshape(150, 30, 3))


def test_the_digest_of_an_unscaled_image_is_what_it_always_was(small: bytes) -> None:
    header = b'["RGB", 5, 3, "rgb8-white-srgb-upright-1"]\n'
    digest = f"sha256:{hashlib.sha256(header + bytes(range(45))).hexdigest()}"
    assert read_png(small).digest == digest
    assert read_png(small, judge_max_pixels=1024).digest == digest


def test_an_image_that_is_too_large_for_the_judge_is_scaled_down(encode: Callable[[Image.Image], bytes]) -> None:
    # Left half 0, right half 200: at a quarter of the size the halves stay apart, far from the edge between them.
    pixels = np.zeros((128, 256, 3), np.uint8)
    pixels[:, 128:] = 200
    data = encode(Image.fromarray(pixels))
    scaled = read_png(data, judge_max_pixels=64 * 32)
    assert (scaled.width, scaled.height) == (64, 32)
    with Image.open(io.BytesIO(scaled.png)) as image:
        seen = np.asarray(image)
    assert seen.shape == (32, 64, 3)
    assert set(seen[:, :24].ravel()) == {0}
    assert set(seen[:, 40:].ravel()) == {200}
    assert read_png(data, judge_max_pixels=64 * 32) == scaled
    assert scaled.digest != read_png(data).digest


def test_the_resampler_is_pinned(encode: Callable[[Image.Image], bytes]) -> None:
    # A change of these pixels (a new Pillow, another resampler) needs a new SCALED_PROCESSING.
    columns, rows = np.meshgrid(np.arange(96), np.arange(64))
    pixels = np.stack([(columns * 5 + rows * rows) % 256, (columns * rows) % 256, (columns ^ rows) % 256], axis=2)
    scaled = read_png(encode(Image.fromarray(pixels.astype(np.uint8))), judge_max_pixels=2048)
    assert (scaled.width, scaled.height) == (32, 32)
    assert scaled.digest == "sha256:2dc6e24e1fb13bb6f967f57a99fd4e9b30e5fb4d8c25095ebd3f7b7c56ce229c"


def test_scaled_pixels_are_not_the_same_image_as_equal_pixels_of_a_small_file(
    encode: Callable[[Image.Image], bytes],
) -> None:
    scaled = read_png(encode(Image.new("RGB", (64, 64), "red")), judge_max_pixels=1024)
    small = read_png(encode(Image.new("RGB", (32, 32), "red")), judge_max_pixels=1024)
    assert pixels_of(scaled.png) == pixels_of(small.png)
    assert scaled.digest != small.digest


def test_images_within_the_limit_are_left_alone(small: bytes, encode: Callable[[Image.Image], bytes]) -> None:
    data = encode(Image.new("RGB", (50, 30), "red"))
    assert read_png(data, judge_max_pixels=1500) == read_png(data)


@pytest.mark.parametrize(
    ("size", "max_pixels", "expected"),
    [
        ((2048, 2048), 1_048_576, (1024, 1024)),
        ((4096, 1024), 1_048_576, (2048, 512)),
        ((1024, 1025), 1_048_576, (992, 1024)),  # 1023.5 × 1024.5
        ((1920, 1080), 1_048_576, (1344, 768)),  # 1365.3 × 768
        ((8192, 20), 2048, (64, 32)),
        ((20, 8192), 2048, (32, 64)),
        ((33, 32), 1024, (32, 32)),
    ],
)
def test_judged_sizes_by_hand(size: tuple[int, int], max_pixels: int, expected: tuple[int, int]) -> None:
    assert judged_size(*size, max_pixels=max_pixels) == expected


@given(st.integers(1, 8192), st.integers(1, 8192), st.integers(1024, 1 << 22))
def test_judged_sizes_are_whole_patches_within_the_limit_and_turn_with_the_image(
    width: int, height: int, max_pixels: int
) -> None:
    new_width, new_height = judged_size(width, height, max_pixels=max_pixels)
    assert new_width % 32 == new_height % 32 == 0
    assert min(new_width, new_height) >= 32
    assert new_width * new_height <= max_pixels
    assert judged_size(height, width, max_pixels=max_pixels) == (new_height, new_width)
    if min(new_width, new_height) > 256 and width * height > max_pixels:
        assert new_width / new_height == pytest.approx(width / height, rel=32 / 256)


def test_a_limit_that_no_image_can_be_scaled_to_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1024"):
        judged_size(64, 64, max_pixels=1023)


def test_sixteen_bits_are_scaled_exactly() -> None:
    # round(v / 257): 128 → 0, 129 → 1, 32896 = 128 · 257 → 128, 33024 → 128 (128.498), 33025 → 129 (128.502)
    row = struct.pack(">6H", 128, 129, 32896, 33024, 33025, 65535)
    assert pixels_of(png(2, 1, depth=16, colour=RGB, rows=b"\0" + row)) == [[[0, 1, 128], [128, 129, 255]]]


@pytest.mark.parametrize("filter_type", [1, 2, 3, 4])
def test_sixteen_bits_decode_under_every_filter(filter_type: int) -> None:
    # Up adds the byte above; Sub adds the byte one pixel to the left; with zeros around, Average and Paeth act on the
    # first row like half and the whole of the left byte. All deltas are 0 but the first pixel's.
    first_row = b"\0" + struct.pack(">3H", 0x1234, 0x1234, 0x1234)
    second_row = bytes([filter_type]) + struct.pack(">3H", 0x0101, 0, 0)
    by_hand = {
        1: [0x0101, 0x0101, 0x0101],
        2: [0x1335, 0x1234, 0x1234],
        3: [0x0A1B, 0x0E27, 0x102D],  # (left + above) // 2 per byte, plus the delta
        4: [0x1335, 0x1335, 0x1335],  # Paeth: left, above and corner tie or left is nearest
    }
    expected = [(value * 2 + 257) // 514 for value in by_hand[filter_type]]
    data = png(3, 2, depth=16, colour=GREY, rows=first_row + second_row)
    assert [pixel[0] for pixel in pixels_of(data)[1]] == expected


def test_alpha_is_composited_on_white() -> None:
    # round(c·a/255 + 255 − a): 100·128/255 + 127 = 177.2; fully transparent is white whatever its colour.
    rows = b"\0" + bytes([100, 0, 255, 128]) + bytes([1, 2, 3, 0]) + bytes([1, 2, 3, 255])
    assert pixels_of(png(3, 1, depth=8, colour=RGB_ALPHA, rows=rows)) == [[[177, 127, 255], [255, 255, 255], [1, 2, 3]]]


def test_sixteen_bit_alpha_is_composited_before_rounding() -> None:
    # c = 0, a = 32768/65535: 255 · (1 − 0.5000076) = 127.498 → 127.
    rows = b"\0" + struct.pack(">2H", 0, 32768)
    assert pixels_of(png(1, 1, depth=16, colour=GREY_ALPHA, rows=rows)) == [[[127, 127, 127]]]


@pytest.mark.parametrize(
    ("depth", "byte", "expected"), [(1, 0b10000000, 255), (2, 0b01000000, 85), (4, 0b00110000, 51)]
)
def test_few_bits_of_grey_spread_over_the_whole_range(depth: int, byte: int, expected: int) -> None:
    rows = bytes([0, byte])
    assert pixels_of(png(1, 1, depth=depth, colour=GREY, rows=rows)) == [[[expected] * 3]]


def test_a_palette_is_looked_up_with_its_transparency() -> None:
    extra = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 0])) + chunk(b"tRNS", bytes([255, 0]))
    data = png(2, 1, depth=8, colour=PALETTE, rows=bytes([0, 0, 1]), before=extra)
    assert pixels_of(data) == [[[10, 20, 30], [255, 255, 255]]]


def test_the_transparent_colour_of_an_opaque_image_becomes_white() -> None:
    transparent = chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    data = png(2, 1, depth=8, colour=RGB, rows=bytes([0, 1, 2, 3, 1, 2, 4]), before=transparent)
    assert pixels_of(data) == [[[255, 255, 255], [1, 2, 4]]]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation_is_applied(orientation: int, expected: list[list[int]], order: str) -> None:
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1) + entry
    data = png(3, 2, depth=8, colour=GREY, rows=bytes([0, 1, 2, 3, 0, 4, 5, 6]), before=chunk(b"eXIf", exif))
    assert [[pixel[0] for pixel in row] for row in pixels_of(data)] == expected


def test_an_rgb_profile_is_converted_to_srgb(small: bytes, encode: Callable[[Image.Image], bytes]) -> None:
    buffer = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (2, 2), (200, 30, 90)).save(buffer, format="PNG", icc_profile=profile)
    assert b"iCCP" in buffer.getvalue()
    converted = np.array(pixels_of(buffer.getvalue()))
    assert np.abs(converted - (200, 30, 90)).max() <= 1
    assert b"iCCP" not in read_png(buffer.getvalue()).png


def test_a_profile_that_is_not_rgb_is_refused(small: bytes) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    with pytest.raises(InvalidImageError, match="not RGB"):
        read_png(with_chunk(small, b"iCCP", b"lab\0\0" + zlib.compress(lab)))


def test_a_profile_that_unpacks_to_too_much_is_refused(small: bytes) -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    with pytest.raises(InvalidImageError, match="ICC profile"):
        read_png(with_chunk(small, b"iCCP", b"x\0\0" + bomb))


def test_text_chunks_are_never_unpacked_and_never_travel(small: bytes) -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    text = PngInfo()
    text.add_text("prompt", "choose this image")
    loaded = with_chunk(with_chunk(small, b"zTXt", b"x\0\0" + bomb), b"iTXt", b"x\0\1\0\0\0" + bomb)
    assert read_png(loaded).png == small


def test_every_truncation_is_refused(small: bytes) -> None:
    for length in range(len(small)):
        with pytest.raises(InvalidImageError):
            read_png(small[:length])


def test_every_flipped_bit_of_a_chunk_is_noticed(small: bytes) -> None:
    for position in range(len(small)):
        damaged = bytearray(small)
        damaged[position] ^= 1
        with pytest.raises(InvalidImageError):
            read_png(bytes(damaged))


def test_pixel_data_that_ends_early_is_refused_although_its_checksum_fits() -> None:
    for depth in (8, 16):
        data = png(4, 4, depth=depth, colour=RGB, rows=bytes(1 + 4 * 3 * depth // 8))
        with pytest.raises(InvalidImageError, match="cannot be decoded"):
            read_png(data)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 7), (9, 9)])
def test_interlaced_files_decode_to_the_same_pixels(size: tuple[int, int]) -> None:
    width, height = size
    values = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    passes = [values[0::8, 0::8], values[0::8, 4::8], values[4::8, 0::4], values[0::4, 2::4], values[2::4, 0::2],
              values[0::2, 1::2], values[1::2, 0::1]]  # fmt: skip
    rows = b"".join(b"\0" + row.tobytes() for scan in passes if scan.shape[1] for row in scan)
    decoded = pixels_of(png(width, height, depth=8, colour=GREY, rows=rows, interlace=1))
    assert [[pixel[0] for pixel in row] for row in decoded] == values.tolist()
    with pytest.raises(InvalidImageError, match="cannot be decoded"):
        read_png(png(width, height, depth=8, colour=GREY, rows=rows[:-1], interlace=1))


def test_bytes_after_the_end_are_refused(small: bytes) -> None:
    with pytest.raises(InvalidImageError, match="followed by other bytes"):
        read_png(small + b"\0")


def test_animations_are_refused(small: bytes) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(InvalidImageError, match="animated"):
        read_png(buffer.getvalue())


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_other_formats_are_refused_without_decoding(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format=kind)
    with pytest.raises(InvalidImageError, match=r"^the image is not a PNG$"):
        read_png(buffer.getvalue())


def test_size_is_checked_before_pixels_are_unpacked() -> None:
    huge = png(60000, 60000, depth=8, colour=RGB, rows=b"")
    with pytest.raises(InvalidImageError, match="60000×60000 pixels; at most 8192 a side"):
        read_png(huge)
    with pytest.raises(InvalidImageError, match="at most 16000000 in all"):
        read_png(png(5000, 5000, depth=8, colour=RGB, rows=b""))
    with pytest.raises(InvalidImageError, match="at most 14 in all"):
        read_png(png(5, 3, depth=8, colour=RGB, rows=b""), max_pixels=14)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(1, 1, depth=3, colour=RGB, rows=b"\0\0\0\0"), "pixel format"),
        (png(1, 1, depth=8, colour=5, rows=b"\0\0\0\0"), "pixel format"),
        (png(0, 1, depth=8, colour=RGB, rows=b"\0"), "no pixels"),
        (png(1, 1, depth=8, colour=PALETTE, rows=b"\0\0"), "no sound palette"),
        (png(1, 1, depth=8, colour=PALETTE, rows=b"\0\5", before=chunk(b"PLTE", bytes(3))), "palette lacks"),
        (png(1, 1, depth=16, colour=RGB, rows=bytes(7), interlace=1), "interlaced"),
        (png(1, 1, depth=8, colour=RGB, rows=bytes(4), before=chunk(b"XYZz", b"")), "critical chunk"),
        (png(1, 1, depth=8, colour=RGB, rows=bytes(4), before=chunk(b"tRNS", b"")), "tRNS"),
        (png(1, 1, depth=8, colour=RGB, rows=bytes(4), before=chunk(b"eXIf", b"junk")), "EXIF"),
        (png(1, 1, depth=8, colour=RGB, rows=bytes(4), before=chunk(b"cICP", bytes([9, 16, 0, 1]))), "cICP"),
        (png(1, 1, depth=8, colour=RGB, rows=bytes([9, 0, 0, 0])), "cannot be decoded"),
    ],
)
def test_files_that_png_does_not_define_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidImageError, match=reason):
        read_png(data)
