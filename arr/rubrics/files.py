"""Rubric sets in files: JSON, YAML or plain text, told apart by the file's name unless said otherwise."""

import json
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from arr.rubrics.text_form import TextFormError, read_text, write_text
from shared_schemas.messages import in_one_line
from shared_schemas.rubrics import PublishRequest, RubricContent, RubricVersion


class RubricFormat(StrEnum):
    """How a rubric set is written down."""

    JSON = "json"
    YAML = "yaml"
    TEXT = "text"


_OF_SUFFIX = {
    ".json": RubricFormat.JSON,
    **dict.fromkeys((".yaml", ".yml"), RubricFormat.YAML),
    **dict.fromkeys((".txt", ".text"), RubricFormat.TEXT),
}


class RubricFileError(Exception):
    """The file holds no rubric set; the message is one line that names the file."""


def format_of(path: Path) -> RubricFormat:
    """What the file's name says. Raises `RubricFileError` for a name that says nothing."""
    if path.suffix.lower() not in _OF_SUFFIX:
        raise RubricFileError(f"{path}: the name does not say what is in it; say it with --format")
    return _OF_SUFFIX[path.suffix.lower()]


def read_rubric(
    path: Path, form: RubricFormat, *, unsaid: Mapping[str, Any] | None = None
) -> tuple[PublishRequest, str | None]:
    """What the file says, and the digest of the version that it was exported from, if it names one.

    JSON and YAML hold the content itself, or `content` with `provenance` and `digest` beside it. Plain text says
    nothing but themes and tips: `unsaid` holds the other fields of the content. Raises `RubricFileError`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RubricFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RubricFileError(f"{path} cannot be read: it is not UTF-8") from error
    try:
        if form is RubricFormat.TEXT:
            content = RubricContent(criteria=read_text(text), **(unsaid or {}))
            return PublishRequest(content=content), None
        return _request(_parse(text, form, path=path), path=path)
    except TextFormError as error:
        raise RubricFileError(f"{path}: {error}") from error
    except ValidationError as error:
        raise RubricFileError(f"{path}: {in_one_line(error, whole='the file')}") from error


def write_rubric(version: RubricVersion, form: RubricFormat) -> str:
    """A version as text. Raises `TextFormError` for plain text that cannot hold it."""
    if form is RubricFormat.TEXT:
        return write_text(version.content)
    values = version.model_dump(mode="json", include={"name", "version", "digest", "content", "provenance"})
    if form is RubricFormat.JSON:
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    from arr.rubrics.yaml_form import write_yaml

    return write_yaml(values)


def import_provenance(
    request: PublishRequest, path: Path, form: RubricFormat, *, exported_from: str | None
) -> dict[str, Any]:
    """Where an imported version came from: the file, and what the file itself says about that."""
    original = request.provenance
    if original.get("method") == "import":
        original = original.get("original", {})  # an import of an import does not nest
    provenance = {"method": "import", "file": path.name, "format": str(form), "parent": exported_from}
    return {**provenance, "original": original} if original else provenance


def _parse(text: str, form: RubricFormat, *, path: Path) -> Any:
    if form is RubricFormat.JSON:
        try:
            return json.loads(text, object_pairs_hook=_said_once)
        except (ValueError, RecursionError) as error:
            raise RubricFileError(f"{path} cannot be read as JSON: {error}") from error
    from arr.rubrics.yaml_form import YamlFormError, read_yaml

    try:
        return read_yaml(text)
    except YamlFormError as error:
        raise RubricFileError(f"{path} {error}") from error


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object. Raises `ValueError` for a key that stands twice; Python's reader keeps the last."""
    if twice := [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]:
        raise ValueError(f"{twice[0]!r} stands twice in one object")
    return dict(pairs)


def _request(data: Any, *, path: Path) -> tuple[PublishRequest, str | None]:
    if not isinstance(data, dict):
        raise RubricFileError(f"{path} holds no rubric set: write an object with `task` and `criteria`")
    if "content" in data:
        wanted = {key: data[key] for key in ("content", "provenance") if key in data}
        digest = data.get("digest")
        return PublishRequest.model_validate(wanted), digest if isinstance(digest, str) else None
    return PublishRequest(content=RubricContent.model_validate(data)), None
