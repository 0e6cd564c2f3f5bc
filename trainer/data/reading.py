"""Examples from files, whichever of the known layouts they have.

    prompts.jsonl          {"prompt": …} or {"prompt": …, "source_image": "before.png"} per line
    dataset/               what Hugging Face's `save_to_disk` wrote, with such columns
    text_to_image.json     a JSON array of {"input_prompt": …, "input_image": […]}, as in ShareGPT-4o-Image

The one rule: a mistake is one line that names the file and the row, before any model is loaded.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shared_schemas.base import Text
from trainer.config import DataConfig, EvaluationConfig, TrainConfig
from trainer.data.examples import Example, SourceImage
from trainer.data.saved_dataset import is_saved_dataset, saved_rows, splits_of
from trainer.data.source_files import SourceFiles
from trainer.errors import ConfigError

_TEXT: TypeAdapter[str] = TypeAdapter(Text)
"""What the reward service takes for a prompt."""

_SHAREGPT_FILES = ("text_to_image.json", "text_and_image_to_image.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """What a row calls its prompt and its source images."""

    prompt: str
    source: str
    source_is_named: bool = False
    """Somebody asked for this source column, so that a row without one is a mistake."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a file."""

    where: str
    """For people: the file and the row."""
    values: dict[str, Any]


def read_run_examples(config: TrainConfig) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """What a run trains on, and what it is evaluated on (empty = no evaluation). Raises `ConfigError`.

    Pictures that lie inside a dataset are written to `sources` in the folder of prepared rows, or else of the run.
    """
    files = SourceFiles((config.data.prepared or config.output_dir) / "sources")
    try:
        trained = _read(config.data.prompts, config.data, files)
        evaluated = _read(config.evaluation.prompts, config.evaluation, files) if config.evaluation.prompts else ()
    finally:
        files.save()
    return trained, evaluated


def read_examples(
    path: Path, *, prompt_column: str | None = None, source_column: str | None = None, files: SourceFiles | None = None
) -> tuple[Example, ...]:
    """Examples of the file or folder at `path`; columns are called as in its layout unless named here.

    A source image is a path, or a list of paths, relative to the file or, in a saved dataset, to its folder; or, there,
    an image. Raises `ConfigError` naming the row that is wrong.
    """
    files = files or SourceFiles()
    rows, defaults = _rows_of(path, prompt_column=prompt_column, source_column=source_column)
    columns = Columns(
        prompt=prompt_column or defaults.prompt,
        source=source_column or defaults.source,
        source_is_named=source_column is not None,
    )
    folder = path if path.is_dir() else path.parent
    examples = tuple(
        Example(_prompt(row, columns.prompt), _sources(row, columns, folder=folder, files=files)) for row in rows
    )
    if not examples:
        raise ConfigError(f'{path}: holds no prompts; write one {{"{columns.prompt}": "…"}} per line')
    return examples


def _read(path: Path, columns: DataConfig | EvaluationConfig, files: SourceFiles) -> tuple[Example, ...]:
    return read_examples(path, prompt_column=columns.prompt_column, source_column=columns.source_column, files=files)


def _rows_of(path: Path, *, prompt_column: str | None, source_column: str | None) -> tuple[Iterator[Row], Columns]:
    """Rows, and how the layout calls its columns."""
    usual = Columns(prompt="prompt", source="source_image")
    if path.is_dir():
        _refuse_other_folder(path)
        rows = saved_rows(path, prompt_column or usual.prompt, optional=source_column or usual.source)
        return _numbered(path, rows), usual
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: prompts cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: prompts cannot be read ({error})") from error
    if text.lstrip().startswith("["):
        return _numbered(path, _array(path, text)), Columns(prompt="input_prompt", source="input_image")
    return _lines(path, text), usual


def _refuse_other_folder(path: Path) -> None:
    if is_saved_dataset(path):
        return
    if splits := splits_of(path):
        raise ConfigError(f"{path} has the splits {', '.join(splits)}; name the folder of one, {path / splits[0]}")
    if found := [name for name in _SHAREGPT_FILES if (path / name).is_file()]:
        raise ConfigError(f"{path} is a folder; name the file, {path / found[0]}")
    raise ConfigError(f"{path} is a folder, but not one that Hugging Face's `save_to_disk` wrote")


def _lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{where}: not JSON ({error.msg})") from error
        yield Row(where=where, values=values if isinstance(values, dict) else {})


def _array(path: Path, text: str) -> Iterator[Any]:
    try:
        yield from json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error


def _numbered(path: Path, rows: Iterator[Any]) -> Iterator[Row]:
    for number, values in enumerate(rows, 1):
        yield Row(where=f"{path} row {number}", values=values if isinstance(values, dict) else {})


def _prompt(row: Row, column: str) -> str:
    value = row.values.get(column)
    if not isinstance(value, str) or not value.strip():
        others = "" if column in row.values else f"; it has {', '.join(sorted(row.values)) or 'no columns'}"
        raise ConfigError(f'{row.where}: expected {{"{column}": "some text"}}{others} (prompt_column)')
    try:
        return _TEXT.validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{row.where}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def _sources(row: Row, columns: Columns, *, folder: Path, files: SourceFiles) -> tuple[SourceImage, ...]:
    if columns.source_is_named and columns.source not in row.values:
        raise ConfigError(f"{row.where}: there is no {columns.source} (source_column)")
    value = row.values.get(columns.source)
    items = [] if value is None else value if isinstance(value, list) else [value]
    return tuple(_source(item, row.where, columns.source, folder=folder, files=files) for item in items)


def _source(item: Any, where: str, column: str, *, folder: Path, files: SourceFiles) -> SourceImage:
    """From a path, or from what Arrow files hold of an image: `{"bytes": …, "path": …}`, one of them empty."""
    content, name = (item.get("bytes"), item.get("path")) if isinstance(item, dict) else (None, item)
    if content is None and not (isinstance(name, str) and name):
        raise ConfigError(f"{where}: {column} must be a path, or a list of paths")
    path = folder / (name or column)
    try:
        return files.of_file(path) if content is None else files.of_content(content)
    except OSError as error:
        raise ConfigError(f"{where}: the source image {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{where}: the source image {path} cannot be used: {error}") from error
