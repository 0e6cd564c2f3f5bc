"""The images of rows: found, read, and decoded once to be sure that the service can.

Files stay as they are, byte for byte. The one rule: a path is looked up below the folders it may be in, never guessed.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from arr.pairs.rows import LabelledRow, PictureRef, Place, Reason, RowError
from services.judging.dataset_images import InvalidImageError, check_image
from shared_schemas.datasets import UploadedRow
from shared_schemas.messages import in_one_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image file's content."""

    data: bytes
    digest: str
    """SHA-256 of the content, hexadecimal."""
    suffix: str

    @property
    def name(self) -> str:
        """A file name that equal files share."""
        return f"{self.digest}{self.suffix}"


@dataclass(frozen=True, kw_only=True, slots=True)
class IllustratedRow:
    """A row that can be uploaded, with its images at hand."""

    place: Place
    content: UploadedRow
    """Names the images by `Picture.name`."""
    images: tuple[Picture, ...]
    source: Picture | None


class PictureReader:
    """Finds the images that rows name."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Relative paths are looked up in `folders`, in order, each also in its subfolder named like the split."""
        self._folders = tuple(dict.fromkeys(folders))

    def illustrate(self, row: LabelledRow) -> IllustratedRow:
        """The row with its images.

        Raises `RowError` for an image that is missing, unreadable or there twice, and for text that is not accepted.
        """
        images = tuple(self._read(ref, row.place.split) for ref in row.images)
        if len({image.digest for image in images}) < len(images):
            raise RowError(Reason.DUPLICATE_IMAGES, "the same image stands in two places of the row")
        source = None if row.source is None else self._read(row.source, row.place.split)
        return IllustratedRow(place=row.place, content=_content(row, images, source), images=images, source=source)

    def _read(self, ref: PictureRef, split: str | None) -> Picture:
        if isinstance(ref, bytes):
            return read_picture(ref, name="an image")
        path = self._find(ref, split)
        try:
            return read_picture(path.read_bytes(), name=ref)
        except OSError as error:
            raise RowError(Reason.MISSING_FILE, f"{ref} cannot be read: {error.strerror}") from error

    def _find(self, name: str, split: str | None) -> Path:
        for folder in self._folders:
            for path in (folder / name, *([folder / split / name] if split else [])):
                if _is_file(path):
                    return path
        looked_in = " or ".join(str(folder) for folder in self._folders)
        raise RowError(Reason.MISSING_FILE, f"{name} is not in {looked_in} (--images names the folder)")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def _content(row: LabelledRow, images: tuple[Picture, ...], source: Picture | None) -> UploadedRow:
    fields = {
        "prompt": row.prompt,
        "images": [image.name for image in images],
        "rank": row.rank,
        "score": row.score,
        "source": None if source is None else source.name,
        "id": row.id,
    }
    try:
        return UploadedRow.model_validate(fields)
    except ValidationError as error:
        raise RowError(Reason.MALFORMED, in_one_line(error, whole="the row")) from error


def read_picture(data: bytes, *, name: str) -> Picture:
    """Decode a PNG, JPEG or WebP as the service will. Raises `RowError`; `name` says which image it was."""
    try:
        image = check_image(data)
    except InvalidImageError as error:
        raise RowError(Reason.UNREADABLE_IMAGE, f"{name}: {error}") from error
    return Picture(data=data, digest=hashlib.sha256(data).hexdigest(), suffix=f".{image.format}")
