"""Records one after the other, from every kind of file, in flat memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arr.pairs.records import BadRecord, DatasetError, first_keys, read_records

ROWS = [{"number": n, "text": f"row {n}", "share": 0.5} for n in range(3)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("array.json", json.dumps(ROWS)),
        ("indented.json", json.dumps(ROWS, indent=2)),
        ("wrapped.json", json.dumps({"pairs": ROWS})),
        ("wrapped_after_more.json", json.dumps({"version": 2, "meta": {"pairs": 1}, "pairs": ROWS})),
        ("lines.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("lines.json", "\n".join(json.dumps(row) for row in ROWS)),
        ("marked_array.json", f"\ufeff{json.dumps(ROWS)}"),
        ("marked_lines.jsonl", "\ufeff" + "\n".join(json.dumps(row) for row in ROWS)),
    ],
)
def test_json_of_every_shape_gives_the_same_records(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert list(read_records(path)) == ROWS
    assert first_keys(path) == {"number", "text", "share"}


def test_parquet_gives_the_records_with_the_wanted_keys_alone(write_parquet: Callable[..., Path]) -> None:
    path = write_parquet("rows.parquet", ROWS)
    assert list(read_records(path)) == ROWS
    assert list(read_records(path, keys=frozenset({"text", "never"}))) == [{"text": f"row {n}"} for n in range(3)]
    assert first_keys(path) == {"number", "text", "share"}


@pytest.mark.parametrize("layout", [{"row_group_size": 20}, {"write_batch_size": 4, "data_page_size": 1_000_000}])
def test_parquet_is_never_in_memory_at_once(tmp_path: Path, layout: dict[str, int]) -> None:
    path = tmp_path / "large.parquet"
    rows = [{"image": bytes([n]) * 250_000} for n in range(200)]  # 50 MB
    pq.write_table(pa.Table.from_pylist(rows), path, compression="none", use_dictionary=False, **layout)
    del rows
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in read_records(path))
    assert most < 16_000_000


def test_reading_tells_how_far_it_is(write_json: Callable[..., Path], write_parquet: Callable[..., Path]) -> None:
    for path in (write_json("rows.json", ROWS), write_parquet("rows.parquet", ROWS)):
        ticks: list[int] = []
        list(read_records(path, tick=ticks.append))
        assert ticks == sorted(ticks)
        assert ticks[-1] == path.stat().st_size


def test_what_is_no_object_is_a_bad_record(write_json: Callable[..., Path]) -> None:
    records = list(read_records(write_json("rows.json", [ROWS[0], 7, ROWS[1]])))
    assert records == [ROWS[0], BadRecord("not an object: 7"), ROWS[1]]


def test_a_line_that_is_nested_too_deep_is_a_bad_record(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("[" * 100_000 + "\n" + json.dumps(ROWS[0]))
    bad, good = read_records(path)
    assert isinstance(bad, BadRecord)
    assert good == ROWS[0]


def test_a_damaged_array_says_after_which_row(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(ROWS)[:-20])
    with pytest.raises(DatasetError, match=r"cut\.json is damaged after row 2"):
        list(read_records(path))


def test_a_parquet_file_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DatasetError, match="not a Parquet file"):
        first_keys(path)


@pytest.mark.parametrize(("library", "name"), [("pyarrow", "rows.parquet"), ("ijson", "rows.json")])
def test_a_library_that_is_missing_is_named_with_the_way_to_get_it(library: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[]")
    script = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from pathlib import Path; from arr.pairs.records import first_keys\n"
        "first_keys(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / name)]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert f"needs {library}: pip install 'rubric-reward[datasets]'" in failed.stderr.splitlines()[-1]


def test_json_lines_need_no_library(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}')
    script = (
        "import sys; sys.modules['pyarrow'] = sys.modules['ijson'] = None\n"
        "from pathlib import Path; from arr.pairs.records import read_records\n"
        "print(list(read_records(Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "rows.jsonl")]
    read = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert read.stdout.strip() == "[{'a': 1}]"


def test_an_empty_file_has_no_keys(tmp_path: Path) -> None:
    for name in ("empty.json", "empty.jsonl"):
        path = tmp_path / name
        path.write_text("")
        assert first_keys(path) == frozenset()
        assert list(read_records(path)) == []
