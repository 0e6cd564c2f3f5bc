"""Which rows a version was learned from, as far as its provenance says: figures on them flatter it.

The one rule: provenance is what a publisher wrote, so anything may stand there, and what says nothing excludes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from services.storage.splits import split
from shared_schemas.datasets import Dataset, DatasetRow
from shared_schemas.evaluations import Fractions


class _Config(BaseModel):
    fractions: Fractions


class _Provenance(BaseModel):
    """Of a learned version."""

    dataset: str
    seed: int
    config: _Config


def rows_learned_from(provenance: Mapping[str, Any], dataset: Dataset, rows: Sequence[DatasetRow]) -> frozenset[str]:
    """Digests of those `rows`, all of `dataset`'s, that fell to the training part of the job that learned the version.

    Empty for versions that were not learned, or from another dataset, even one with some of the same rows.
    """
    try:
        learned = _Provenance.model_validate(provenance)
    except ValidationError:
        return frozenset()
    if learned.dataset != dataset.digest:
        return frozenset()
    return frozenset(row.digest for row in split(rows, seed=learned.seed, fractions=learned.config.fractions).train)
