"""`arr pairs` as people call it, the service included."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from typer.testing import Result

from arr.pairs.formats import FORMATS
from services.reward_api.app import create_app
from services.reward_api.settings import Settings

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def pairs(arr: Callable[..., Result]) -> Callable[..., Result]:
    return lambda *arguments: arr("pairs", *arguments)


@pytest.fixture
def hpdv3(write_json: Callable[..., Path], write_picture: Callable[..., str], tmp_path: Path) -> Path:
    """An HPDv3 folder: 12 test pairs; in train.json one good pair and one whose file is missing."""

    def pair(number: int) -> dict[str, Any]:
        paths = [write_picture(f"images/{number}{side}.png", 2 * number + side) for side in (0, 1)]
        return {"prompt": f"prompt {number}", "path1": paths[0], "path2": paths[1], "confidence": 0.9}

    write_json("test.json", [pair(number) for number in range(12)])
    write_json("train.json", [pair(20), {"prompt": "gone", "path1": "images/00.png", "path2": "images/no.png"}])
    return tmp_path


def test_formats_are_listed_with_a_line_each(pairs: Callable[..., Result]) -> None:
    output = pairs("formats").output
    assert all(name in output for name in FORMATS)
    assert json.loads(pairs("formats", "--json").output).keys() == FORMATS.keys()


def test_check_of_a_sound_dataset_ends_well(pairs: Callable[..., Result], hpdv3: Path) -> None:
    result = pairs("check", hpdv3, "--format", "hpdv3", "--split", "test", "--json")
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert (found["rows"], found["candidates"], found["splits"], found["ties"]) == (12, {"2": 12}, {"test": 12}, 0)
    assert 0 < found["balance"] < 1
    assert found["unusable_rows"] == []


def test_check_ends_with_1_and_names_the_row_that_cannot_be_used(pairs: Callable[..., Result], hpdv3: Path) -> None:
    result = pairs("check", hpdv3, "--format", "hpdv3")
    assert result.exit_code == 1
    assert "train.json row 2: missing-file: images/no.png" in result.output
    assert "12 with 2" not in result.output
    assert "13 with 2" in result.output


def test_check_of_a_limit_reads_no_further(pairs: Callable[..., Result], hpdv3: Path) -> None:
    result = pairs("check", hpdv3, "--format", "hpdv3", "--split", "train", "--limit", 1, "--json")
    assert (result.exit_code, json.loads(result.output)["rows"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--format", "pickapic"], "no files of the format pickapic"),
        (["--format", "hpd3"], "there is no format 'hpd3'; choose from hpdv3"),
        (["--format", "hpdv3", "--split", "validation"], "no split 'validation'; it has test, train"),
        (["--format", "hpdv3", "--limit", "1", "--sample", "1"], "--limit or --sample, not both"),
    ],
)
def test_mistakes_are_one_line(pairs: Callable[..., Result], hpdv3: Path, arguments: list[str], complaint: str) -> None:
    result = pairs("check", hpdv3, *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_wrong_format_is_answered_with_the_right_one(pairs: Callable[..., Result], hpdv3: Path) -> None:
    result = pairs("import", hpdv3 / "test.json", "--format", "imagereward", "--url", NOWHERE)
    assert result.exit_code == 2
    assert "its records have the keys confidence, path1, path2, prompt" in result.stderr
    assert "--format hpdv3" in result.stderr


def test_import_asks_for_a_split_where_there_are_several(pairs: Callable[..., Result], hpdv3: Path) -> None:
    result = pairs("import", hpdv3, "--format", "hpdv3", "--url", NOWHERE)
    assert result.exit_code == 2
    assert "--split all" in result.stderr


def test_what_is_imported_is_what_the_dataset_says(pairs: Callable[..., Result], hpdv3: Path, service_url: str) -> None:
    result = pairs("import", hpdv3, "--format", "hpdv3", "--split", "test", "--url", service_url, "--json")
    assert result.exit_code == 0, result.output
    uploaded = json.loads(result.stdout)["dataset"]
    assert (uploaded["num_rows"], uploaded["num_images"], uploaded["task"]) == (12, 24, "t2i")


def test_import_leaves_out_what_cannot_be_used_and_says_so(
    pairs: Callable[..., Result], hpdv3: Path, service_url: str
) -> None:
    result = pairs("import", hpdv3, "--format", "hpdv3", "--split", "train", "--url", service_url)
    assert result.exit_code == 0, result.output
    assert "train.json row 2: missing-file" in result.stderr
    assert "left out: 1 missing-file" in result.stderr
    assert "1 rows, 2 images, task t2i" in result.stdout


def test_import_of_the_same_rows_again_gives_the_same_dataset(
    pairs: Callable[..., Result], hpdv3: Path, service_url: str
) -> None:
    sample = ("import", hpdv3, "--format", "hpdv3", "--split", "test", "--sample", 5, "--seed", 3, "--url", service_url)
    first, second = (json.loads(pairs(*sample, "--json").stdout)["dataset"] for _ in range(2))
    assert first["num_rows"] == 5
    assert (first["id"], first["digest"]) == (second["id"], second["digest"])


def test_edits_are_imported_with_their_sources(
    pairs: Callable[..., Result], write_parquet: Callable[..., Path], picture: Callable[..., bytes], service_url: str
) -> None:
    row = {
        "instruction": "make it blue",
        "source_image": {"bytes": picture(0, format="JPEG"), "path": None},
        "candidate_1": {"bytes": picture(1, format="WEBP"), "path": None},
        "candidate_2": {"bytes": picture(2), "path": None},
        "ranking": "A=B",
    }
    path = write_parquet("2pair/train-00000-of-00001.parquet", [row])
    result = pairs("import", path, "--format", "editreward", "--url", service_url, "--json")
    uploaded = json.loads(result.stdout)["dataset"]
    assert (uploaded["task"], uploaded["num_images"], uploaded["num_ties"]) == ("edit", 3, 1)


def test_what_the_service_refuses_is_told_at_the_row_it_comes_from(
    pairs: Callable[..., Result], write_json: Callable[..., Path], write_picture: Callable[..., str], service_url: str
) -> None:
    images = [write_picture("a.png", 1), write_picture("b.png", 2)]
    rows = [{"prompt": "a", "images": images, "rank": [1, 2]}, {"prompt": "x" * 8001, "images": images, "rank": [1, 2]}]
    result = pairs("import", write_json("rows.json", rows), "--format", "json", "--url", service_url)
    assert result.exit_code == 1
    assert "rows.json row 2, prompt: has 8001 characters" in result.stderr


def test_strict_uploads_nothing_when_one_row_cannot_be_used(
    pairs: Callable[..., Result], hpdv3: Path, tmp_path: Path, serve: Callable[..., str]
) -> None:
    url = serve(create_app(Settings(data_dir=tmp_path / "data")))
    result = pairs("import", hpdv3, "--format", "hpdv3", "--split", "train", "--strict", "--url", url)
    assert result.exit_code == 1
    assert httpx.get(f"{url}/datasets").json()["items"] == []
    assert "1 rows cannot be used (1 missing-file); nothing was uploaded" in result.stderr


def test_no_usable_row_is_an_error(pairs: Callable[..., Result], hpdv3: Path, tmp_path: Path, service_url: str) -> None:
    empty = tmp_path / "nothing_here"
    empty.mkdir()
    test = hpdv3 / "test.json"
    result = pairs("import", test, "--format", "hpdv3", "--images", empty, "--url", service_url)
    assert result.exit_code == 1
    assert "has no row that can be used: 12 missing-file" in result.stderr


def test_edits_and_others_do_not_make_one_dataset(
    pairs: Callable[..., Result], write_json: Callable[..., Path], write_picture: Callable[..., str], service_url: str
) -> None:
    row = {"prompt": "a", "images": [write_picture("a.png", 1), write_picture("b.png", 2)], "rank": [1, 2]}
    path = write_json("rows.json", [row, row | {"source": "a.png"}])
    result = pairs("import", path, "--format", "json", "--url", service_url)
    assert result.exit_code == 1
    assert "1 of 2 rows have a source image" in result.stderr


def test_without_a_service_the_next_step_is_told_before_anything_is_read(
    pairs: Callable[..., Result], hpdv3: Path
) -> None:
    result = pairs("import", hpdv3, "--format", "hpdv3", "--split", "train", "--url", NOWHERE)
    assert result.exit_code == 1
    assert "is `arr serve` running" in result.stderr
    assert "missing-file" not in result.stderr


def test_more_bytes_than_the_service_takes_are_answered_with_the_ways_out(
    pairs: Callable[..., Result],
    write_json: Callable[..., Path],
    tmp_path: Path,
    serve: Callable[..., str],
) -> None:
    url = serve(create_app(Settings(data_dir=tmp_path / "data", max_dataset_mb=1)))
    for name, level in (("a.png", 0), ("b.png", 1)):
        Image.new("RGB", (600, 600), (level, 0, 0)).save(tmp_path / name, compress_level=0)
    path = write_json("rows.json", [{"prompt": "a", "images": ["a.png", "b.png"], "rank": [1, 2]}])
    result = pairs("import", path, "--format", "json", "--url", url)
    assert result.exit_code == 1
    assert "take fewer rows (--limit, --sample), or start the service with ARR_MAX_DATASET_MB" in result.stderr
