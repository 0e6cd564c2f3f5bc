"""Counting a dataset: what is in it, whether its order gives the labels away, and what is wrong with it."""

import hashlib
import math
import statistics
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations

from arr.pairs.pictures import IllustratedRow
from arr.pairs.rows import Reason, UnusableRow

_Z_99 = 2.576
"""Two-sided 99 % quantile of the standard normal distribution."""

NO_SPLIT = "(none)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Characters of the prompts."""

    shortest: int
    median: float
    longest: int


@dataclass(slots=True)
class Census:
    """Counts of everything seen so far; holds no image and no prompt."""

    candidates: Counter[int] = field(default_factory=Counter)
    """Rows by their number of images."""
    splits: Counter[str] = field(default_factory=Counter)
    """Rows by the dataset's own split."""
    num_ties: int = 0
    """Pairs of images in one row that share a rank, as the service counts them."""
    num_with_source: int = 0
    num_duplicates: int = 0
    """Rows whose prompt and images, in any order, occurred before."""
    num_decided_pairs: int = 0
    """Pairs of images in one row, of which one is better."""
    num_first_better: int = 0
    """Those whose better image stands before the other."""
    unusable: list[UnusableRow] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)
    _prompt_chars: Counter[int] = field(default_factory=Counter)

    def add(self, row: IllustratedRow | UnusableRow) -> None:
        """Count one row."""
        if isinstance(row, UnusableRow):
            self.unusable.append(row)
            return
        self.candidates[len(row.images)] += 1
        self.splits[row.place.split or NO_SPLIT] += 1
        self.num_with_source += row.source is not None
        self._prompt_chars[len(row.content.prompt)] += 1
        for earlier, later in combinations(row.content.places, 2):
            self.num_ties += earlier == later
            self.num_decided_pairs += earlier != later
            self.num_first_better += earlier < later
        self._note_duplicate(row)

    @property
    def num_rows(self) -> int:
        """Rows that can be used."""
        return self.candidates.total()

    @property
    def first_better_share(self) -> float | None:
        """How often the better image of a pair stands first; one half where order says nothing. None without pairs."""
        return self.num_first_better / self.num_decided_pairs if self.num_decided_pairs else None

    @property
    def is_unbalanced(self) -> bool:
        """Whether that share is further from one half than a fair coin gets in 99 of 100 datasets of this size."""
        if self.first_better_share is None:
            return False
        return abs(self.first_better_share - 0.5) > _Z_99 * 0.5 / math.sqrt(self.num_decided_pairs)

    @property
    def prompt_chars(self) -> Lengths | None:
        """Lengths of the prompts; none without rows."""
        lengths = sorted(self._prompt_chars.elements())
        if not lengths:
            return None
        return Lengths(shortest=lengths[0], median=statistics.median(lengths), longest=lengths[-1])

    @property
    def reasons(self) -> Counter[Reason]:
        """Unusable rows by reason, the most frequent first."""
        return Counter(dict(Counter(row.reason for row in self.unusable).most_common()))

    def _note_duplicate(self, row: IllustratedRow) -> None:
        parts = [
            row.content.prompt,
            row.source.digest if row.source else "",
            *sorted(image.digest for image in row.images),
        ]
        key = hashlib.sha256("\n".join(parts).encode()).digest()[:16]
        self.num_duplicates += key in self._seen
        self._seen.add(key)
