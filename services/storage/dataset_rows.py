"""Reading the rows of labelled data: JSON Lines or a JSON array in, rows and their faults out.

Owns what is sound JSON and what pydantic's refusals mean in the words of a row; whether the rows make a dataset is
decided in `dataset_checks`. The one rule: a bad row does not hide the next one.
"""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared_schemas.datasets import ROW_NAMES, UploadedRow
from shared_schemas.problems import FieldError

MAX_LISTED_FAULTS = 1000

MAX_FIELDS = 32

ROWS = "pairs"
"""How faults name the list of rows: `pairs.17.rank` is in the eighteenth."""


class InvalidDatasetError(ValueError):
    """Labelled data is refused; the message says how much is wrong with it."""

    def __init__(self, faults: tuple[FieldError, ...], *, num_faults: int) -> None:
        listed = "" if num_faults == len(faults) else f"; the first {len(faults)} are listed"
        super().__init__(f"the dataset has {num_faults} fault{'s' * (num_faults != 1)}{listed}")
        self.faults = faults
        """The first of them by row, at most `MAX_LISTED_FAULTS`."""
        self.num_faults = num_faults


@dataclass(slots=True)
class Faults:
    """What is wrong with each row, and with none in particular."""

    num_faults: int = 0
    _of_rows: dict[int, list[FieldError]] = field(default_factory=dict)
    _others: list[FieldError] = field(default_factory=list)

    def add(self, where: str, message: str, *, row: int | None = None) -> None:
        """Note a fault; `where` is a path within `row`, or a path of its own."""
        self.num_faults += 1
        if self.num_faults > 100 * MAX_LISTED_FAULTS:
            return  # enough to sort out the first ones; more would only take memory
        if row is None:
            self._others.append(FieldError(where=where, message=message))
        else:
            path = f"{ROWS}.{row}.{where}" if where else f"{ROWS}.{row}"
            self._of_rows.setdefault(row, []).append(FieldError(where=path, message=message))

    def raise_if_any(self) -> None:
        """Raise `InvalidDatasetError`, unless nothing was noted."""
        if self.num_faults:
            by_row = [fault for row in sorted(self._of_rows) for fault in self._of_rows[row]]
            raise InvalidDatasetError((*self._others, *by_row)[:MAX_LISTED_FAULTS], num_faults=self.num_faults)


def read_rows(data: bytes, faults: Faults, *, max_rows: int) -> dict[int, UploadedRow]:
    """The sound rows by their place, 0 for the first; what is wrong with the others is noted."""
    rows: dict[int, UploadedRow] = {}
    index = -1
    for index, value in enumerate(_values(data.removeprefix(codecs.BOM_UTF8), faults)):
        if index == max_rows:
            faults.add(ROWS, f"has more than {max_rows} rows")
            break
        row = _row(value, faults, index=index)
        if row is not None:
            rows[index] = row
    if index < 0 and not faults.num_faults:
        faults.add(ROWS, "has no rows")
    return rows


@dataclass(frozen=True, slots=True)
class _Unsound:
    """Stands where a row should be."""

    message: str


def _values(data: bytes, faults: Faults) -> Iterator[Any]:
    """What should be rows."""
    if not data.lstrip().startswith(b"["):
        lines = enumerate(data.splitlines(), start=1)
        yield from (_parse(line, f"line {number} is not sound JSON") for number, line in lines if line.strip())
        return
    values = _parse(data, "is not a sound JSON array")
    if isinstance(values, _Unsound):
        faults.add(ROWS, values.message)
    else:
        yield from values


def _parse(text: bytes, refusal: str) -> Any:
    try:
        return json.loads(text.decode(), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        return _Unsound(refusal)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Unsound:
    """Refused here and not as a parse error, so that in an array the other rows are still read."""
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    names = [name for name, _ in pairs]
    return _Unsound(f"says {next(name for name in fields if names.count(name) > 1)[:80]!r} twice")


def _row(value: Any, faults: Faults, *, index: int) -> UploadedRow | None:
    if not isinstance(value, dict):
        faults.add("", value.message if isinstance(value, _Unsound) else "is not an object", row=index)
        return None
    if len(value) > MAX_FIELDS:  # pydantic would list every field that is no field of a row
        faults.add("", f"has more than {MAX_FIELDS} fields", row=index)
        return None
    try:
        return UploadedRow.model_validate(value)
    except ValidationError as error:
        for details in error.errors(include_input=False, include_url=False, include_context=False):
            faults.add(*_in_words_of_a_row(details, value), row=index)
        return None


def _in_words_of_a_row(details: ErrorDetails, fields: dict[str, Any]) -> tuple[str, str]:
    """Where, by the name that the service uses, and what; of a field under two names, the second is told."""
    name, *place = details["loc"] or ("",)
    names = next((names for names in ROW_NAMES if name in names), None)
    if details["type"] != "extra_forbidden":
        path = (names[0] if names else name, *place)
        return ".".join(str(part) for part in path), details["msg"].removeprefix("Value error, ")
    if names is None:
        return str(name)[:200], "is not a field of a row"
    used = next(other for other in names if other in fields)
    return str(name), f"means the same as {used!r}; send one of them"
