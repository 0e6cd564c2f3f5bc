"""Rows on their way to the service: images wait in a temporary folder, equal ones once.

The one rule: nothing is left behind, however the command ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from arr.pairs.pictures import IllustratedRow, Picture
from arr.pairs.records import DatasetError
from arr.pairs.rows import Place
from shared_schemas.datasets import MAX_ROWS, UploadedRow


@dataclass(slots=True)
class Package:
    """What is uploaded as one dataset."""

    folder: Path
    rows: list[UploadedRow] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    """Where each row comes from."""
    images: dict[str, Path] = field(default_factory=dict)
    """Files by the names that the rows use."""
    num_bytes: int = 0
    """Size of the images."""

    def add(self, row: IllustratedRow) -> None:
        """Pack one more row. Raises `DatasetError` for one too many, and where there is no room for its images."""
        if len(self.rows) == MAX_ROWS:
            raise DatasetError(f"there are more than {MAX_ROWS:,} rows: take fewer of them (--limit, --sample)")
        self.rows.append(row.content)
        self.places.append(row.place)
        for picture in row.images:
            self._add_picture(picture)
        if row.source is not None:
            self._add_picture(row.source)

    def place_of(self, fault: str) -> str:
        """Where a fault is that the service calls `pairs.17.prompt`: `test.json row 30, prompt`."""
        list_name, _, rest = fault.partition(".")
        number, _, field_name = rest.partition(".")
        if list_name != "pairs" or not number.isdecimal() or int(number) >= len(self.places):
            return fault
        place = str(self.places[int(number)])
        return f"{place}, {field_name}" if field_name else place

    def _add_picture(self, picture: Picture) -> None:
        if picture.name not in self.images:
            path = self.images[picture.name] = self.folder / picture.name
            try:
                path.write_bytes(picture.data)
            except OSError as error:
                why = f"{error.strerror} after {self.num_bytes:,} bytes"
                raise DatasetError(f"images wait in {self.folder}: {why}; TMPDIR names another folder") from error
            self.num_bytes += len(picture.data)


@contextmanager
def new_package() -> Iterator[Package]:
    """An empty package; its files are gone afterwards."""
    with TemporaryDirectory(prefix="arr-pairs-") as folder:
        yield Package(Path(folder))
