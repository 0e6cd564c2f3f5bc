"""Rows of a dataset that Hugging Face's `save_to_disk` wrote.

The one rule: memory stays flat. Files are memory-mapped, a few rows are Python objects at a time, and images stay the
bytes or paths that they are in the files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError

_ROWS_AT_ONCE = 16


def is_saved_dataset(path: Path) -> bool:
    """Whether `save_to_disk` of one dataset wrote the folder."""
    return (path / "state.json").is_file() and (path / "dataset_info.json").is_file()


def splits_of(path: Path) -> list[str]:
    """The splits, each a folder of its own, where `save_to_disk` of several wrote the folder; else none."""
    if not (path / "dataset_dict.json").is_file():
        return []
    return sorted(folder.name for folder in path.iterdir() if is_saved_dataset(folder))


def saved_rows(path: Path, column: str, *, optional: str) -> Iterator[dict[str, Any]]:
    """The rows in order, with one column, and another where there is such.

    Raises `ConfigError` when there is no such column, the files are damaged, or the library that reads them is missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(f"reading {path} needs datasets: pip install 'rubric-reward[datasets]'") from error
    datasets.disable_progress_bars()
    try:
        dataset = datasets.load_from_disk(str(path)).with_format("arrow")  # arrow: images are not decoded
        if column not in dataset.column_names:
            columns = ", ".join(dataset.column_names)
            raise ConfigError(f"{path}: there is no column {column}; there are {columns} (prompt_column)")
        names = {column, optional} & {*dataset.column_names}
        for table in dataset.select_columns(sorted(names)).iter(batch_size=_ROWS_AT_ONCE):
            yield from table.to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
