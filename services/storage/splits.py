"""Splits of labelled data: which rows may be learned from, which choose, and which only measure.

Owns who goes where, by hashes of what the rows say: neither their order nor the machine matters. The one rule: what
looks alike stays together. Equal prompts, blanks and case aside, are in one part, and so are edits of one picture.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared_schemas.datasets import DatasetRow


class Part(StrEnum):
    """What a row may be used for."""

    TRAIN = "train"
    """To learn from."""
    VALIDATION = "validation"
    """To choose between what was learned."""
    TEST = "test"
    """To measure what was chosen."""


DEFAULT_FRACTIONS: Mapping[Part, float] = {Part.TRAIN: 0.6, Part.VALIDATION: 0.2, Part.TEST: 0.2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """The three parts; together they are all rows, each once."""

    train: tuple[DatasetRow, ...]
    validation: tuple[DatasetRow, ...]
    test: tuple[DatasetRow, ...]


def split(rows: Sequence[DatasetRow], *, seed: int, fractions: Mapping[Part, float] = DEFAULT_FRACTIONS) -> Splits:
    """Share out `rows` by their number, as near to `fractions` as rows that stay together allow.

    No part with a fraction is empty as long as there are as many prompts (pictures, for edits) to tell apart as parts.
    Each part is shuffled by the seed; the order of `rows` changes nothing. Raises `ValueError` for fractions that are
    negative or do not sum to 1.
    """
    if min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > 1e-9:
        raise ValueError(f"fractions must be positive and sum to 1, not {dict(fractions)}")
    families = sorted(_families(rows), key=lambda family: _hash(seed, min(_prompt_key(row) for row in family)))
    shares = _shares(families, {part: fractions[part] * len(rows) for part in Part if fractions.get(part)})
    shuffled = {part: sorted(share, key=lambda row: _hash(seed, row.digest)) for part, share in shares.items()}
    return Splits(**{part.value: tuple(shuffled.get(part, ())) for part in Part})


def _families(rows: Sequence[DatasetRow]) -> list[list[DatasetRow]]:
    """The rows that a prompt or a source picture connects, directly or by way of others."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        path = []
        while (parent := parents.setdefault(key, key)) != key:
            path.append(key)
            key = parent
        parents.update(dict.fromkeys(path, key))
        return key

    for row in rows:
        root(_prompt_key(row))
        if row.source is not None:
            parents[root(row.source)] = root(_prompt_key(row))
    families: dict[str, list[DatasetRow]] = {}
    for row in rows:
        families.setdefault(root(_prompt_key(row)), []).append(row)
    return list(families.values())


def _shares(families: Sequence[list[DatasetRow]], wanted: Mapping[Part, float]) -> dict[Part, list[DatasetRow]]:
    """Each family to the part that lacks most rows; then an empty part gets the last family of the one with most."""
    shares: dict[Part, list[list[DatasetRow]]] = {part: [] for part in wanted}
    lacking = dict(wanted)
    for family in families:
        part = max(lacking, key=lambda part: lacking[part])  # the first of several
        shares[part].append(family)
        lacking[part] -= len(family)
    for share in shares.values():
        richest = max(shares.values(), key=len)
        if not share and len(richest) > 1:
            share.append(richest.pop())
    return {part: [row for family in share for row in family] for part, share in shares.items()}


def _prompt_key(row: DatasetRow) -> str:
    """Begins with a blank, which no digest of a picture does."""
    return " " + " ".join(row.prompt.casefold().split())


def _hash(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}\n{text}".encode()).hexdigest()
