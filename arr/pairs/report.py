"""What was found in a dataset, as a table for people or as JSON."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from arr.pairs.census import Census
from arr.pairs.rows import UnusableRow
from shared_schemas.datasets import Dataset

MAX_LISTED = 20
"""Unusable rows that are shown one by one; `--json` has all of them."""


def as_json(census: Census) -> dict[str, Any]:
    """Everything counted; `balance` is how often the better image stands first."""
    lengths = census.prompt_chars
    return {
        "rows": census.num_rows,
        "candidates": {str(number): count for number, count in sorted(census.candidates.items())},
        "splits": dict(sorted(census.splits.items())),
        "ties": census.num_ties,
        "with_source": census.num_with_source,
        "duplicates": census.num_duplicates,
        "balance": census.first_better_share,
        "unbalanced": census.is_unbalanced,
        "prompt_chars": None
        if lengths is None
        else {"shortest": lengths.shortest, "median": lengths.median, "longest": lengths.longest},
        "unusable": {str(reason): count for reason, count in census.reasons.items()},
        "unusable_rows": [_unusable_as_json(row) for row in census.unusable],
    }


def import_as_json(uploaded: Dataset, census: Census) -> dict[str, Any]:
    """The dataset as the service describes it, and what was read for it."""
    return {"dataset": uploaded.model_dump(mode="json"), "read": as_json(census)}


def print_report(census: Census, console: Console) -> None:
    """The counts, then the first rows that cannot be used."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in _lines(census):
        table.add_row(label, Text(value))
    console.print(table)
    for line in unusable_lines(census):
        console.print(line, markup=False, soft_wrap=True)


def unusable_lines(census: Census) -> Iterator[str]:
    """The first rows that cannot be used."""
    for row in census.unusable[:MAX_LISTED]:
        yield f"{row.place}: {row.reason}: {row.detail}"
    if (num_more := len(census.unusable) - MAX_LISTED) > 0:
        yield f"… and {num_more:,} more (--json lists all)"


def reasons_in_words(census: Census) -> str:
    """`3 missing-file, 1 no-label`."""
    return ", ".join(f"{count:,} {reason}" for reason, count in census.reasons.items())


def _lines(census: Census) -> Iterator[tuple[str, str]]:
    yield "rows", f"{census.num_rows:,}"
    per_row = (f"{count:,} with {number}" for number, count in sorted(census.candidates.items()))
    yield "images per row", ", ".join(per_row)
    yield "with a source", f"{census.num_with_source:,}"
    yield "splits", ", ".join(f"{split}: {count:,}" for split, count in sorted(census.splits.items()))
    yield "ties", f"{census.num_ties:,}"
    yield "better one first", _balance(census)
    yield "duplicates", f"{census.num_duplicates:,}"
    if (lengths := census.prompt_chars) is not None:
        yield "prompt", f"{lengths.shortest} to {lengths.longest} characters, {lengths.median:g} in the middle"
    yield "cannot be used", f"{len(census.unusable):,}" + (f" ({reasons_in_words(census)})" if census.unusable else "")


def _balance(census: Census) -> str:
    if census.first_better_share is None:
        return "no pair has a better image"
    share = f"{census.first_better_share:.1%} of {census.num_decided_pairs:,} pairs"
    return f"{share}: position gives the label away" if census.is_unbalanced else share


def _unusable_as_json(row: UnusableRow) -> dict[str, Any]:
    return {
        "file": row.place.file,
        "row": row.place.number,
        "split": row.place.split,
        "reason": row.reason,
        "detail": row.detail,
    }
