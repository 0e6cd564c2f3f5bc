"""Scores on disk."""

from pathlib import Path

import numpy as np
import pytest

from services.rubric_worker.methods.autorubric_t2i.score_store import ScoreStore


def test_what_is_written_is_read_in_any_order_and_the_rest_is_missing(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path, num_images=2)
    first, second = store.open(["a", "b"]), store.open(["c"])
    first[0] = [0.1, 0.2]
    second[1] = [0.9]
    np.testing.assert_array_equal(store.scores(["c", "a"]), [[np.nan, 0.1], [0.9, np.nan]])
    assert store.knows("b")
    assert not store.knows("d")
    with pytest.raises(KeyError):
        store.scores(["d"])


def test_scores_are_in_files(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path, num_images=3)
    file = store.open(["a"])
    file[:, 0] = [0.1, 0.2, 0.3]
    file.base.flush() if file.base is not None and hasattr(file.base, "flush") else file.flush()  # type: ignore[attr-defined]
    [path] = tmp_path.iterdir()
    np.testing.assert_array_equal(np.load(path)[:, 0], [0.1, 0.2, 0.3])


def test_no_criteria_have_no_columns(tmp_path: Path) -> None:
    assert ScoreStore(tmp_path, num_images=3).scores([]).shape == (3, 0)
