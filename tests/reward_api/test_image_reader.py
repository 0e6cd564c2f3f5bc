"""The images of a request, read on several threads."""

import pytest

from services.judging.images import read_png
from services.reward_api.errors import InvalidImage
from services.reward_api.image_reader import ImageReader


@pytest.fixture
def reader() -> ImageReader:
    return ImageReader(max_pixels=1000, max_side=100, judge_max_pixels=1024)


async def test_every_file_is_read_as_it_would_be_alone(reader, png) -> None:
    files = {f"i{number}": png(number / 20) for number in range(20)}
    images = await reader.read_all(files)
    assert images == {name: read_png(data) for name, data in files.items()}


async def test_the_same_bytes_are_read_once(reader, png) -> None:
    first = await reader.read_all({"a": png(0.3), "b": png(0.3)})
    again = await reader.read_all({"c": png(0.3)})
    assert first["a"] is first["b"] is again["c"]


async def test_of_several_bad_images_the_first_is_told_whichever_thread_found_one(reader, png) -> None:
    files = {f"i{number}": png(number / 20) for number in range(20)}
    bad = files | {"i7": b"no image", "i12": png(0.5, size=(50, 50)), "i18": b""}
    for _ in range(5):
        with pytest.raises(InvalidImage, match="'i7'") as refusal:
            await reader.read_all(bad)
        assert refusal.value.part == "i7"
    with pytest.raises(InvalidImage, match="'i12'"):
        await reader.read_all(bad | {"i7": png(0.1)})


async def test_what_could_not_be_read_is_not_remembered_as_readable(reader, png) -> None:
    for _ in range(2):
        with pytest.raises(InvalidImage):
            await reader.read_all({"large": png(0.5, size=(50, 50))})


async def test_no_images_are_read_at_once(reader) -> None:
    assert await reader.read_all({}) == {}
