"""Rows with their images: where files are looked for, what is refused, and when reading ends."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from arr.pairs.dataset import open_dataset
from arr.pairs.formats import FORMATS
from arr.pairs.pictures import IllustratedRow
from arr.pairs.reading import Wanted, read_rows
from arr.pairs.rows import Reason, UnusableRow

EVERYTHING = Wanted()


def read(
    path: Path, name: str, *, images: Path | None = None, wanted: Wanted = EVERYTHING
) -> tuple[list[IllustratedRow], list[UnusableRow]]:
    dataset = open_dataset(path, FORMATS[name], split=None, seed=0)
    rows = list(read_rows(dataset, wanted, images=images, choosing=lambda _: None, tick=lambda _: None))
    usable = [row for row in rows if isinstance(row, IllustratedRow)]
    return usable, [row for row in rows if isinstance(row, UnusableRow)]


def plain(*images: str, prompt: str = "a", rank: Sequence[int] = (1, 2), **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "images": list(images), "rank": list(rank)} | more


def test_files_are_found_beside_the_annotations_below_the_folder_and_in_the_splits_folder(
    write_json: Callable[..., Path], write_picture: Callable[..., str], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    write_picture("data/train/beside.png", 1)
    write_picture("data/whole/below.png", 2)
    write_picture("data/train/train/in_split.png", 3)
    row = {
        "prompt": "a",
        "file_path": ["beside.png", "whole/below.png", "in_split.png"],
        "human_preference": [0, 1, 0],
    }
    write_json("data/train/train.json", [row])
    usable, refused = read(tmp_path / "data", "hpdv2")
    assert refused == []
    assert [image.data for image in usable[0].images] == [picture(n) for n in (1, 2, 3)]


def test_the_images_folder_takes_the_place_of_all_others(
    write_json: Callable[..., Path], write_picture: Callable[..., str], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    path = write_json("rows.json", [plain("a.png", "b.png")])
    for folder, start in (("", 1), ("elsewhere/", 5)):
        write_picture(f"{folder}a.png", start)
        write_picture(f"{folder}b.png", start + 1)
    usable, _ = read(path, "json", images=tmp_path / "elsewhere")
    assert [image.data for image in usable[0].images] == [picture(5), picture(6)]


def test_files_are_passed_on_byte_for_byte_and_named_by_their_content(
    write_json: Callable[..., Path], write_picture: Callable[..., str]
) -> None:
    names = [write_picture(f"a.{kind}", 3, format=kind) for kind in ("png", "jpeg", "webp")]
    source = write_picture("source.png", 9)
    path = write_json("rows.json", [plain(*names, rank=[1, 2, 2], source=source)])
    row = read(path, "json")[0][0]
    assert [image.data for image in row.images] == [(path.parent / name).read_bytes() for name in names]
    assert [Path(name).suffix for name in row.content.images] == [".png", ".jpeg", ".webp"]
    assert row.source is not None
    assert row.content.source == row.source.name == f"{row.source.digest}.png"


def test_rows_are_refused_for_what_is_wrong_with_their_images(
    write_json: Callable[..., Path], write_picture: Callable[..., str], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    write_picture("good.png", 1)
    write_picture("same.png", 1)
    write_picture("a.gif", 2, format="GIF")
    (tmp_path / "cut.png").write_bytes(picture(3)[:40])
    (tmp_path / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1")
    bad = ("missing.png", "long" * 100, "a.gif", "cut.png", "pointer.png", "same.png")
    _, refused = read(write_json("rows.json", [plain("good.png", name) for name in bad]), "json")
    assert [row.reason for row in refused] == [
        *(Reason.MISSING_FILE, Reason.MISSING_FILE),
        *(Reason.UNREADABLE_IMAGE, Reason.UNREADABLE_IMAGE, Reason.UNREADABLE_IMAGE),
        Reason.DUPLICATE_IMAGES,
    ]
    assert "--images" in refused[0].detail
    assert "a.gif: the image is not a PNG, JPEG or WebP" in refused[2].detail


def test_text_that_the_service_refuses_is_refused_before_the_upload(
    write_json: Callable[..., Path], write_picture: Callable[..., str]
) -> None:
    names = (write_picture("a.png", 1), write_picture("b.png", 2))
    pairs = [{"prompt": "bell \u0007", "path1": names[0], "path2": names[1]}]
    _, refused = read(write_json("test.json", pairs), "hpdv3")
    assert [(row.reason, "U+0007" in row.detail) for row in refused] == [(Reason.MALFORMED, True)]


def test_an_id_that_comes_again_is_refused(write_json: Callable[..., Path], write_picture: Callable[..., str]) -> None:
    names = (write_picture("a.png", 1), write_picture("b.png", 2))
    rows = [plain(*names, id="x"), plain(*names, prompt="b", id="x"), plain(*names, id="y")]
    usable, refused = read(write_json("rows.json", rows), "json")
    assert [row.content.id for row in usable] == ["x", "y"]
    assert [row.reason for row in refused] == [Reason.REPEATED_ID]


def test_a_score_alone_makes_a_row_of_one_image(
    write_json: Callable[..., Path], write_picture: Callable[..., str]
) -> None:
    path = write_json("rows.json", [{"prompt": "a", "response": write_picture("a.png", 1), "label_score": 4}])
    assert read(path, "json")[0][0].content.score == (4.0,)


@pytest.mark.parametrize("wanted", [Wanted(limit=2), Wanted(limit=3), Wanted()])
def test_the_limit_counts_rows_that_can_be_used(
    write_json: Callable[..., Path], write_picture: Callable[..., str], wanted: Wanted
) -> None:
    names = (write_picture("a.png", 1), write_picture("b.png", 2))
    good, bad = plain(*names), plain("a.png", "missing.png")
    usable, refused = read(write_json("rows.json", [bad, good, bad, good, good, bad]), "json", wanted=wanted)
    assert (len(usable), len(refused)) == {2: (2, 2), 3: (3, 2), None: (3, 3)}[wanted.limit]
