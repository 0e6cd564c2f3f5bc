"""Provenance is what a publisher wrote: anything may stand there."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.rubric_worker.evaluation.learned_from import rows_learned_from
from services.storage.splits import split
from shared_schemas.datasets import Dataset, DatasetRow
from shared_schemas.rubrics import Task

DIGESTS = [f"sha256:{number:064x}" for number in range(100)]
ROWS = [DatasetRow(prompt=f"prompt {number}", images=(DIGESTS[90], DIGESTS[91]), rank=(1, 2)) for number in range(10)]
DATASET = Dataset(
    id=1,
    digest=DIGESTS[99],
    task=Task.T2I,
    num_rows=10,
    num_pairs=10,
    num_ties=0,
    num_images=2,
    num_bytes=9,
    tenant="a",
    created=datetime(2026, 1, 2, tzinfo=UTC),
)
LEARNED: dict[str, Any] = {
    "method": "arr",
    "dataset": DATASET.digest,
    "seed": 5,
    "config": {"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}, "max_criteria": 5},
}


def test_a_learned_version_has_seen_the_training_part_of_its_job() -> None:
    assert rows_learned_from(LEARNED, DATASET, ROWS) == {row.digest for row in split(ROWS, seed=5).train}
    assert len(rows_learned_from(LEARNED, DATASET, ROWS)) == 6


@pytest.mark.parametrize(
    "provenance",
    [
        {},
        LEARNED | {"dataset": DIGESTS[98]},
        LEARNED | {"config": {}},
        LEARNED | {"config": "none"},
        LEARNED | {"config": {"fractions": {"train": 2.0, "validation": 0.2, "test": 0.2}}},
        LEARNED | {"seed": "one"},
        {"method": "manual", "dataset": None},
    ],
)
def test_what_says_nothing_excludes_nothing(provenance: dict[str, Any]) -> None:
    assert rows_learned_from(provenance, DATASET, ROWS) == frozenset()
