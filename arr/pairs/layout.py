"""What a format is: the files it is published in, the keys of its records, and how records become rows."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from arr.pairs.records import BadRecord, Values
from arr.pairs.rows import Item, LabelledRow, PictureRef, Place, Reason, RowError, UnusableRow, checked
from shared_schemas.messages import in_one_line


class Record(NamedTuple):
    """One record of a file."""

    place: Place
    values: Values


RowReader: TypeAlias = Callable[[Iterable[Record], int], Iterator[Item]]
"""(records of all files in order, seed) → rows; the seed is for formats whose order carries the label."""


class RecordModel(BaseModel):
    """Base of the records of published datasets: fields that nobody reads are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


RecordT = TypeVar("RecordT", bound=RecordModel)


def _to_picture(value: object) -> object:
    """Undo Hugging Face's `{"bytes": …, "path": …}`: the bytes where they are included, else the path."""
    if isinstance(value, dict) and set(value) <= {"bytes", "path"}:
        return value.get("bytes") or value.get("path")
    return value


Picture = Annotated[bytes | str, BeforeValidator(_to_picture)]
"""An image: bytes, Hugging Face's struct of them, or a path."""

Prompt = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One published layout."""

    name: str
    """What `--format` calls it."""
    summary: str
    """One line for `arr pairs formats`."""
    files: re.Pattern[str]
    """Matches the end of an annotation file's path; the group `split` names the dataset's split."""
    keys: frozenset[str]
    """Keys that are read, all spellings."""
    tell_tale: tuple[frozenset[str], ...]
    """A record is of this format when it has all keys of one of these."""
    rows: RowReader
    grouped: bool = False
    """Whether rows come only after all records are read."""

    def fits(self, keys: frozenset[str]) -> bool:
        """Whether a record with these keys can be of this format."""
        return any(needed <= keys for needed in self.tell_tale)


def keys_of(*models: type[RecordModel]) -> frozenset[str]:
    """Every key that the models read, aliases included."""
    found: set[str] = set()
    for model in models:
        for name, field in model.model_fields.items():
            alias = field.validation_alias
            found |= {str(choice) for choice in alias.choices} if isinstance(alias, AliasChoices) else {name}
    return frozenset(found)


def one_row_each(read: Callable[[Record, int], LabelledRow]) -> RowReader:
    """For formats with one row per record: `read` makes it, or raises `RowError`."""

    def rows(records: Iterable[Record], seed: int) -> Iterator[Item]:
        for record in records:
            try:
                yield checked(read(record, seed))
            except RowError as error:
                yield UnusableRow(place=record.place, reason=error.reason, detail=error.detail)

    return rows


def parse(record: Record, model: type[RecordT]) -> RecordT:
    """The record as `model`. Raises `RowError` that names the field."""
    values: Any = record.values
    if isinstance(values, BadRecord):
        raise RowError(Reason.MALFORMED, values.problem)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RowError(Reason.MALFORMED, in_one_line(error, whole="the row")) from error


def included(picture: PictureRef | None, *, what: str) -> PictureRef:
    """The picture itself. Raises `RowError` where the dataset has none."""
    if not picture:
        raise RowError(Reason.NO_IMAGE, f"the file has no {what}")
    return picture
