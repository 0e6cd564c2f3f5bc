"""What is wrong with labelled data, all of it at once, and what comes of data in which nothing is."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.judging.dataset_images import ImageFormat
from services.storage.dataset_checks import DatasetLimits, SoundDataset, check_dataset
from services.storage.dataset_rows import MAX_LISTED_FAULTS, InvalidDatasetError
from shared_schemas.datasets import ROW_NAMES
from shared_schemas.rubrics import Task


@dataclass(frozen=True)
class InMemory:
    data: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def num_bytes(self) -> int:
        return len(self.data)

    def read(self) -> bytes:
        return self.data


def picture(level: int, format: str = "PNG") -> InMemory:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(buffer, format=format)
    return InMemory(buffer.getvalue())


FILES = {"a": picture(10), "b": picture(20, "JPEG"), "c": picture(30, "WEBP"), "s": picture(40)}
FIELDS = [name for names in ROW_NAMES for name in names]
ROW = {"prompt": "a lamp", "images": ["a", "b"], "rank": [1, 2]}


def check(rows: Any, files: Mapping[str, InMemory] = FILES, **limits: int) -> SoundDataset:
    pairs = rows if isinstance(rows, bytes) else "\n".join(map(json.dumps, rows)).encode()
    return check_dataset(pairs, files, limits=DatasetLimits(**limits))


def faults(rows: Any, files: Mapping[str, InMemory] = FILES, **limits: int) -> list[tuple[str, str]]:
    """All faults but images that no row names."""
    with pytest.raises(InvalidDatasetError) as refusal:
        check(rows, files, **limits)
    found = [(fault.where, fault.message) for fault in refusal.value.faults]
    return [fault for fault in found if fault[1] != "no row names this image"]


def test_a_sound_dataset_names_images_by_their_digests() -> None:
    files = {"a": FILES["a"], "b": FILES["b"]}
    dataset = check([{**ROW, "rank": [7, 3], "id": "r"}], files)
    [row] = dataset.rows
    assert row.images == (FILES["a"].digest, FILES["b"].digest)
    assert (row.rank, row.id, dataset.task) == ((2, 1), "r", Task.T2I)
    assert {digest: image.checked.format for digest, image in dataset.images.items()} == {
        FILES["a"].digest: ImageFormat.PNG,
        FILES["b"].digest: ImageFormat.JPEG,
    }


def test_rows_with_sources_are_edits() -> None:
    dataset = check([{**ROW, "images": ["a", "b", "c"], "rank": [1, 1, 2], "base_image": "s"}])
    assert (dataset.task, dataset.rows[0].source) == (Task.EDIT, FILES["s"].digest)


def test_an_array_says_the_same_as_lines() -> None:
    rows = [{**ROW, "images": ["a", "b"]}, {**ROW, "images": ["c", "s"]}]
    assert check(json.dumps(rows, indent=2).encode()).rows == check(rows).rows
    assert check(b"\xef\xbb\xbf" + json.dumps(rows).encode()).rows == check(rows).rows
    assert check(b"\r\n\n".join(json.dumps(row).encode() for row in rows)).rows == check(rows).rows


def test_one_file_under_two_names_is_one_image() -> None:
    files = {"a": FILES["a"], "again": FILES["a"], "b": FILES["b"]}
    dataset = check([ROW, {**ROW, "images": ["b", "again"]}], files)
    assert len(dataset.images) == 2


def test_a_path_may_begin_with_a_dot() -> None:
    assert check([{**ROW, "images": ["./a", "b"]}], {"a": FILES["a"], "b": FILES["b"]}).rows


ALL_WRONG: list[tuple[Any, list[tuple[str, str]]]] = [
    ({**ROW, "images": ["a", "zz"]}, [("images.1", "there is no image 'zz'")]),
    ({**ROW, "images": ["broken", "a"]}, [("images.0", "'broken' cannot be judged: the image is not a PNG")]),
    ({**ROW, "label_rank": [1, 2]}, [("label_rank", "means the same as 'rank'; send one of them")]),
    ({"caption": "x", "query": "y", "responses": ["a"]}, [("caption", "means the same as 'query'")]),
    ({**ROW, "rank": [1, 2, 3]}, [("rank", "has 3 numbers for 2 images")]),
    ({"query": "", "responses": [], "label_rank": []}, [("prompt", "at least 1 character"), ("images", "at least 1")]),
    ({**ROW, "typo": 1}, [("typo", "is not a field of a row")]),
    ({**ROW, "images": ["a", "same"]}, [("images.1", "is the same file as images.0")]),
    ({**ROW, "prompt": "x" * 21}, [("prompt", "has 21 characters; at most 20 are read")]),
    ({**ROW, "source_image": "s"}, [("source", "is one too many")]),
    ({**ROW, "id": "twice"}, [("id", "another row has the same")]),
    ({**ROW, "id": "twice"}, [("id", "another row has the same")]),
    ([1, 2], [("", "is not an object")]),
    ("a lamp", [("", "is not an object")]),
    (None, [("", "is not an object")]),
]


def test_every_bad_row_is_named_and_no_good_one() -> None:
    files = {**FILES, "broken": InMemory(b"GIF89a"), "same": FILES["a"]}
    rows = [item for row, _ in ALL_WRONG for item in (ROW, row)]
    found = faults(rows, files, max_prompt_chars=20)
    expected = [
        (f"pairs.{2 * n + 1}.{where}".rstrip("."), message)
        for n, (_, wrong) in enumerate(ALL_WRONG)
        for where, message in wrong
    ]
    for where, message in expected:
        assert any(place == where and message in text for place, text in found), (where, message)
    assert {place.split(".")[1] for place, _ in found} == {place.split(".")[1] for place, _ in expected}


def test_a_damaged_line_does_not_hide_the_next_one() -> None:
    lines = [json.dumps(ROW), "{", '{"prompt": 1, "prompt": 2}', json.dumps({**ROW, "rank": [1]}), "[" * 10_000, "NaN"]
    assert faults("\n".join(lines).encode()) == [
        ("pairs.1", "line 2 is not sound JSON"),
        ("pairs.2", "says 'prompt' twice"),
        ("pairs.3.rank", "has 1 numbers for 2 images"),
        ("pairs.4", "line 5 is not sound JSON"),
        ("pairs.5", "is not an object"),
    ]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (b"", "has no rows"),
        (b"\n \n", "has no rows"),
        (b"[]", "has no rows"),
        (b"[1, ", "is not a sound JSON array"),
        (b"[" * 100_000, "is not a sound JSON array"),
        (b"[\xff]", "is not a sound JSON array"),
    ],
)
def test_rows_that_are_none_at_all_are_refused(pairs: bytes, message: str) -> None:
    assert faults(pairs) == [("pairs", message)]


def test_rows_are_counted() -> None:
    assert check([ROW] * 3, {"a": FILES["a"], "b": FILES["b"]}, max_rows=3).rows
    assert faults([ROW] * 4, max_rows=3) == [("pairs", "has more than 3 rows")]


def test_images_that_no_row_names_are_refused() -> None:
    with pytest.raises(InvalidDatasetError) as refusal:
        check([ROW])
    assert [(fault.where, fault.message) for fault in refusal.value.faults] == [
        ("c", "no row names this image"),
        ("s", "no row names this image"),
    ]


def test_the_lesser_half_of_a_mixed_dataset_is_named() -> None:
    edit = {**ROW, "source": "s"}
    assert [where for where, _ in faults([edit, ROW, edit])] == ["pairs.1.source"]
    assert [where for where, _ in faults([ROW, edit, ROW])] == ["pairs.1.source"]


def test_a_thousand_faults_are_listed_and_all_are_counted() -> None:
    with pytest.raises(InvalidDatasetError, match="has 1502 faults; the first 1000 are listed") as refusal:
        check([ROW, *({} for _ in range(751))])  # neither prompt nor images
    assert len(refusal.value.faults) == MAX_LISTED_FAULTS
    assert refusal.value.faults[0].where == "pairs.1.prompt"


def test_images_are_limited_in_size() -> None:
    [(where, message)] = faults(
        [{**ROW, "images": ["a", "a2"]}], {"a": FILES["a"], "a2": picture(1)}, max_image_side=3
    )[:1]
    assert (where, "at most 3 a side" in message) == ("pairs.0.images.0", True)


@given(st.permutations(range(3)))
def test_the_digest_does_not_depend_on_the_order_of_rows_or_the_names_of_files(order: list[int]) -> None:
    rows = [
        {"prompt": "one", "images": ["a", "b"], "rank": [1, 2]},
        {"prompt": "two", "images": ["b", "c"], "rank": [1, 1]},
        {"prompt": "two", "images": ["a", "s"], "rank": [2, 1]},
    ]
    others = [{**rows[n], "images": [f"{name}.file" for name in rows[n]["images"]]} for n in order]
    files = {f"{name}.file": file for name, file in FILES.items()}
    assert check(others, files).digest == check(rows).digest
    assert [row.prompt for row in check(others, files).rows] == [rows[n]["prompt"] for n in order]


@pytest.mark.parametrize(
    "change",
    [{"prompt": "a lamp "}, {"rank": [2, 1]}, {"rank": [1, 1]}, {"id": "x"}, {"images": ["b", "a"]}, {"score": [2, 1]}],
)
def test_the_digest_names_what_the_rows_say(change: dict[str, Any]) -> None:
    files = {"a": FILES["a"], "b": FILES["b"]}
    assert check([{**ROW, **change}], files).digest != check([ROW], files).digest
    assert check([{**ROW, "rank": [0, 9]}], files).digest == check([ROW], files).digest


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text() | st.sampled_from(["a", "b"]),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), values),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values) | json_values, max_size=4))
def test_whatever_json_is_sent_it_is_a_dataset_or_a_list_of_faults(rows: list[Any]) -> None:
    try:
        check(json.dumps(rows).encode())
    except InvalidDatasetError as error:
        refusal = error
    assert refusal.faults  # some image is always one that no row names


@pytest.mark.parametrize(
    ("row", "where", "message"),
    [
        ({**ROW, "\ud800": 1}, "pairs.0", "unicode string"),
        ({**ROW, **{f"x{n}": 1 for n in range(40)}}, "pairs.0", "has more than 32 fields"),
        ({**ROW, "rank": ["x"] * 1_000_000}, "pairs.0.rank", "at most 64"),
    ],
)
def test_a_hostile_row_costs_one_fault(row: dict[str, Any], where: str, message: str) -> None:
    [(found, text)] = faults([row])
    assert (found, message in text) == (where, True)
