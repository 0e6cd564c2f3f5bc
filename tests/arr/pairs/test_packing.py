"""What waits for the upload."""

from contextlib import suppress
from pathlib import Path

import pytest

from arr.pairs.packing import Package, new_package
from arr.pairs.pictures import IllustratedRow, Picture
from arr.pairs.records import DatasetError
from arr.pairs.rows import Place
from shared_schemas.datasets import MAX_ROWS, UploadedRow


def picture(digit: str) -> Picture:
    return Picture(data=digit.encode(), digest=digit * 64, suffix=".png")


def row(*pictures: Picture, source: Picture | None = None) -> IllustratedRow:
    names = [each.name for each in pictures]
    content = {"prompt": "a", "images": names, "rank": [1, 2], "source": source.name if source else None}
    place = Place(file="test.json", number=1, split=None)
    return IllustratedRow(place=place, content=UploadedRow.model_validate(content), images=pictures, source=source)


def test_equal_images_are_packed_once() -> None:
    a, b, c = picture("a"), picture("b"), picture("c")
    with new_package() as package:
        package.add(row(a, b))
        package.add(row(b, c, source=a))
        assert len(package.rows) == 2
        assert {name: path.read_bytes() for name, path in package.images.items()} == {
            a.name: b"a", b.name: b"b", c.name: b"c"
        }  # fmt: skip
        assert package.num_bytes == 3


def test_faults_that_the_service_finds_are_told_where_the_row_comes_from() -> None:
    with new_package() as package:
        package.add(row(picture("a"), picture("b")))
        assert package.place_of("pairs.0.prompt") == "test.json row 1, prompt"
        assert package.place_of("pairs.0") == "test.json row 1"
        assert [package.place_of(fault) for fault in ("pairs", "pairs.1.prompt", "a.png")] == [
            *("pairs", "pairs.1.prompt", "a.png"),
        ]


def test_more_rows_than_a_dataset_has_are_told_before_they_are_read(tmp_path: Path) -> None:
    content = row(picture("a"), picture("b"))
    package = Package(tmp_path, rows=[content.content] * (MAX_ROWS - 1))
    package.add(content)
    with pytest.raises(DatasetError, match="more than 100,000 rows: take fewer of them"):
        package.add(content)


def test_a_disk_without_room_is_said_so_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone: No such file or directory after 0 bytes; TMPDIR names another"):
        Package(tmp_path / "gone").add(row(picture("a"), picture("b")))


def test_nothing_is_left_behind_when_somebody_interrupts() -> None:
    with suppress(KeyboardInterrupt), new_package() as package:
        package.add(row(picture("a"), picture("b")))
        raise KeyboardInterrupt
    assert not package.folder.exists()
