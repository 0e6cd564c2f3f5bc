"""Which files belong to a dataset, and which of its rows are taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arr.pairs.dataset import open_dataset
from arr.pairs.formats import FORMATS
from arr.pairs.records import DatasetError
from arr.pairs.rows import LabelledRow, UnusableRow


def pairs(num: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [{"prompt": f"prompt {n}", "path1": f"{n}a.png", "path2": f"{n}b.png"} for n in range(start, start + num)]


def prompts(path: Path, *, split: str | None = None) -> list[str]:
    items = open_dataset(path, FORMATS["hpdv3"], split=split, seed=0).items()
    return [item.prompt for item in items if isinstance(item, LabelledRow)]


@pytest.fixture
def folder(write_json: Callable[..., Path], tmp_path: Path) -> Path:
    """train.json with ten pairs, test.json with three, and a file that is no annotation."""
    write_json("train.json", pairs(10))
    write_json("test.json", pairs(3, start=100))
    write_json("config.json", {"model": "x"})
    return tmp_path


def test_a_folder_has_the_rows_of_all_its_files_in_the_order_of_their_names(folder: Path) -> None:
    assert prompts(folder) == [f"prompt {n}" for n in (100, 101, 102, *range(10))]


def test_a_split_is_taken_alone(folder: Path) -> None:
    assert prompts(folder, split="test") == ["prompt 100", "prompt 101", "prompt 102"]
    assert len(prompts(folder, split="all")) == 13


def test_a_file_knows_its_split_by_its_name(folder: Path) -> None:
    assert len(prompts(folder / "train.json", split="train")) == 10
    with pytest.raises(DatasetError, match="no split 'test'; it has train"):
        prompts(folder / "train.json", split="test")


def test_a_choice_of_splits_is_asked_for_where_one_is_wanted(folder: Path) -> None:
    with pytest.raises(DatasetError, match="the splits test, train: choose one"):
        open_dataset(folder, FORMATS["hpdv3"], split=None, seed=0, one_split=True)


def test_a_folder_without_files_of_the_format_says_so(folder: Path) -> None:
    with pytest.raises(DatasetError, match="no files of the format pickapic"):
        open_dataset(folder, FORMATS["pickapic"], split=None, seed=0)


def test_a_file_of_another_format_is_named(folder: Path) -> None:
    with pytest.raises(DatasetError, match="looks like hpdv3: --format hpdv3"):
        open_dataset(folder / "test.json", FORMATS["imagereward"], split=None, seed=0)


def test_a_file_without_records_says_so(write_json: Callable[..., Path]) -> None:
    with pytest.raises(DatasetError, match="holds no records"):
        open_dataset(write_json("train.json", []), FORMATS["hpdv3"], split=None, seed=0)


def sampled(path: Path, num: int, *, seed: int) -> list[str]:
    items = open_dataset(path, FORMATS["hpdv3"], split=None, seed=seed).sampled_items(num)
    return [item.prompt for item in items if isinstance(item, LabelledRow)]


def test_a_sample_depends_on_its_seed_alone_and_keeps_the_order(write_json: Callable[..., Path]) -> None:
    path = write_json("train.json", pairs(100))
    sample = sampled(path, 20, seed=3)
    assert len(sample) == 20
    assert sample == sampled(path, 20, seed=3)
    assert sample != sampled(path, 20, seed=4)
    assert sample == sorted(sample, key=lambda prompt: int(prompt.split()[1]))


def test_a_larger_sample_holds_the_smaller_one(write_json: Callable[..., Path]) -> None:
    path = write_json("train.json", pairs(100))
    assert set(sampled(path, 5, seed=0)) < set(sampled(path, 50, seed=0))


def test_every_row_has_the_same_chance_to_be_sampled(write_json: Callable[..., Path]) -> None:
    path = write_json("train.json", pairs(20))
    counts = dict.fromkeys((f"prompt {n}" for n in range(20)), 0)
    for seed in range(200):
        for prompt in sampled(path, 5, seed=seed):
            counts[prompt] += 1
    assert min(counts.values()) > 25  # 50 expected, standard deviation 6.1
    assert max(counts.values()) < 75


def test_a_sample_is_drawn_from_the_rows_that_can_be_used(write_json: Callable[..., Path]) -> None:
    broken = [{"prompt": "", "path1": "a.png", "path2": "b.png"}] * 50
    path = write_json("train.json", [*broken, *pairs(5)])
    items = list(open_dataset(path, FORMATS["hpdv3"], split=None, seed=0).sampled_items(5))
    assert sum(isinstance(item, LabelledRow) for item in items) == 5
    assert sum(isinstance(item, UnusableRow) for item in items) == 50


def test_a_sample_of_more_rows_than_there_are_is_all_of_them(folder: Path) -> None:
    assert len(sampled(folder, 1000, seed=0)) == 13
