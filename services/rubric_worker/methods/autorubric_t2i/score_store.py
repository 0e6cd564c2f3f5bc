"""Scores on disk: one file for each batch of criteria, images × criteria, filled in as answers come.

Owns the files. Refuses to ask anybody, and to survive the process: the judge's cache remembers what was answered.

The one rule: a score that nobody has given is NaN.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers


class ScoreStore:
    """Scores of `num_images` images by ever more criteria, in files of `folder`, which is the caller's to remove."""

    def __init__(self, folder: Path, *, num_images: int) -> None:
        self._folder = folder
        self._num_images = num_images
        self._num_files = 0
        self._columns: dict[str, Numbers] = {}

    def knows(self, criterion: str) -> bool:
        """Whether there is a column for this id."""
        return criterion in self._columns

    def open(self, criteria: Sequence[str]) -> Numbers:
        """[images, criteria] a new file for these ids, all NaN; what is written to it is stored."""
        path = self._folder / f"scores-{self._num_files:04d}.npy"
        self._num_files += 1
        shape = (self._num_images, len(criteria))
        file: Numbers = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=shape)
        file[:] = np.nan
        self._columns |= {criterion: file[:, place] for place, criterion in enumerate(criteria)}
        return file

    def scores(self, criteria: Sequence[str]) -> Numbers:
        """[images, criteria] in memory. Raises `KeyError` for an id that there is no column for."""
        columns = [np.asarray(self._columns[criterion]) for criterion in criteria]
        return np.column_stack(columns) if columns else np.empty((self._num_images, 0))
