"""Source images as files with a digest.

Owns two things that make large datasets bearable: digests are remembered, so that tens of gigabytes are not read anew
at every start, and pictures that lie inside a dataset become files of their own, named by their content, for encoders
and judge to open. The one rule: no picture stays in memory.
"""

import hashlib
import io
import json
import os
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from trainer.data.examples import SourceImage
from trainer.errors import ConfigError

_DIGESTS = "digests.json"


class SourceFiles:
    """Gives pictures their digest; remembers what it has seen in `folder`, where there is one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known = _read_digests(folder / _DIGESTS) if folder else {}
        self._is_saved = True

    def of_file(self, path: Path) -> SourceImage:
        """The picture at `path`, read only if its size or time is new. Raises `OSError` and `ValueError`."""
        status = path.stat()
        stamp = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
        if stamp not in self._known:
            content = path.read_bytes()
            _picture_format(content)
            self._known[stamp] = _digest(content)
            self._is_saved = False
        return SourceImage(self._known[stamp], path)

    def of_content(self, content: bytes) -> SourceImage:
        """The picture as a file of the folder. Raises `ValueError` for what is no picture, or without a folder."""
        if self._folder is None:
            raise ValueError("the image is no file, and there is no folder to write it to")
        digest = _digest(content)
        path = self._folder / f"{digest}.{_picture_format(content)}"
        if not path.exists():
            _write_beside_others(path, content)
        return SourceImage(digest, path)

    def save(self) -> None:
        """Remember the digests for the next start."""
        if self._folder is not None and not self._is_saved:
            _write_beside_others(self._folder / _DIGESTS, json.dumps(self._known, indent=0).encode())
            self._is_saved = True


def open_source(source: SourceImage) -> Image.Image:
    """The picture upright, as RGB: what the model edits and the judge sees. Raises `ConfigError` if it is broken."""
    try:
        with Image.open(source.path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except OSError as error:
        raise ConfigError(f"the source image {source.path} cannot be read: {error}") from error


def source_size(source: SourceImage) -> tuple[int, int]:
    """Width and height of what `open_source` gives; no pixel is read. Raises `ConfigError` if the file is broken."""
    try:
        with Image.open(source.path) as picture:
            is_turned = picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # 5 … 8 lie on their side
            return picture.size[::-1] if is_turned else picture.size
    except OSError as error:
        raise ConfigError(f"the source image {source.path} cannot be read: {error}") from error


def _write_beside_others(path: Path, content: bytes) -> None:
    """As `write_whole`, while other processes of the run may be writing the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_bytes(content)
    draft.replace(path)


def _read_digests(path: Path) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return known


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _picture_format(content: bytes) -> str:
    """`png`, `jpeg` …, by the file's head: pixels are not decoded. Raises `ValueError` for what is no picture."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return str(picture.format).lower()
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError("it is no image that can be read") from error
