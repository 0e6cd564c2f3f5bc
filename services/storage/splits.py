"""Splits of labelled data: which rows may be learned from, which choose, and which only measure.

Owns who goes where, by hashes of what the rows say: neither their order nor the machine matters. The one rule: what
looks alike stays together. Equal prompts, blanks and case aside, are in one part, and so are edits of one picture.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared_schemas.datasets import DatasetRow
from shared_schemas.evaluations import Fractions


class Part(StrEnum):
    """What a row may be used for."""

    TRAIN = "train"
    """To learn from."""
    VALIDATION = "validation"
    """To choose between what was learned."""
    TEST = "test"
    """To measure what was chosen."""


USUAL_FRACTIONS = Fractions()


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """The three parts; together they are all rows, each once."""

    train: tuple[DatasetRow, ...]
    validation: tuple[DatasetRow, ...]
    test: tuple[DatasetRow, ...]

    def rows_of(self, part: Part) -> tuple[DatasetRow, ...]:
        """One of the parts."""
        return {Part.TRAIN: self.train, Part.VALIDATION: self.validation, Part.TEST: self.test}[part]


def split(rows: Sequence[DatasetRow], *, seed: int, fractions: Fractions = USUAL_FRACTIONS) -> Splits:
    """Share out `rows` by their number, as near to `fractions` as rows that stay together allow.

    No part is empty as long as there are as many prompts (pictures, for edits) to tell apart as parts. Each part is
    shuffled by the seed; the order of `rows` changes nothing.
    """
    of_all = {Part.TRAIN: fractions.train, Part.VALIDATION: fractions.validation, Part.TEST: fractions.test}
    wanted = {part: fraction * len(rows) for part, fraction in of_all.items()}
    shares = _shares(_in_turn(_families(rows), seed=seed, num_least=min(wanted.values())), wanted)
    shuffled = {part: tuple(sorted(share, key=lambda row: _hash(seed, row.digest))) for part, share in shares.items()}
    return Splits(train=shuffled[Part.TRAIN], validation=shuffled[Part.VALIDATION], test=shuffled[Part.TEST])


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


def _in_turn(families: Sequence[list[DatasetRow]], *, seed: int, num_least: float) -> list[list[DatasetRow]]:
    """By the seed; but first those of more than `num_least` rows, the largest first, which later would fit nowhere."""

    def place(family: list[DatasetRow]) -> tuple[int, str]:
        num_too_many = len(family) if len(family) > num_least else 0
        return -num_too_many, _hash(seed, min(_prompt_key(row) for row in family))

    return sorted(families, key=place)


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


def prompt_key(prompt: str) -> str:
    """Equal for prompts that differ in blanks and case alone."""
    return " ".join(prompt.casefold().split())


def _prompt_key(row: DatasetRow) -> str:
    """Begins with a blank, which no digest of a picture does."""
    return f" {prompt_key(row.prompt)}"


def _hash(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}\n{text}".encode()).hexdigest()
