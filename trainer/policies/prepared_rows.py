"""Encoded examples on disk: written once by `arr prepare`, read row by row while training.

    index.json                     what encoded them, and which rows are in which file
    00000-3f2a….safetensors        up to 256 rows or 256 MiB; tensors are named `17/prompt_embeds`

The one rule: the index names whole files only. A file is written beside its place, flushed, renamed, and named in the
index last, which is replaced in the same way; whatever ends the process, what the index names is there.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from shared_schemas.rubrics import json_digest
from trainer.data import Example, example_key
from trainer.errors import ConfigError
from trainer.files import flush_to_disk, write_whole
from trainer.policies.encoded_examples import Row
from trainer.policies.encoder_identity import EncoderIdentity

INDEX = "index.json"
MAX_ROWS = 256
MAX_BYTES = 256 << 20
"""A row of FLUX.1-dev is 4 MiB: without this limit a file, which is built in memory, would be 1 GiB."""


class Shard(BaseModel):
    """One file of rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    num_bytes: int
    keys: tuple[str, ...]
    """`example_key` of each row, in order."""


class Index(BaseModel):
    """What a folder holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    encoders: EncoderIdentity
    shards: tuple[Shard, ...] = ()


class PreparedRows(Mapping[Example, Row]):
    """Rows of a folder. None is in memory: each is read from its file, which is memory-mapped, when it is asked for."""

    def __init__(self, folder: Path, shards: Iterable[Shard]) -> None:
        self._folder = folder
        self._places = {key: (shard.file, number) for shard in shards for number, key in enumerate(shard.keys)}

    @classmethod
    def open(cls, folder: Path, wanted: EncoderIdentity, examples: Iterable[Example]) -> "PreparedRows":
        """Rows of `examples` by the encoders `wanted`. Raises `ConfigError` with the command that makes what lacks."""
        index = read_index(folder)
        if index is None:
            raise ConfigError(f"data.prepared: {folder} holds no rows yet; run `arr prepare` with this recipe")
        refuse_other_encoders(folder, index, wanted)
        rows = cls(folder, whole_shards(folder, index))
        examples = list(dict.fromkeys(examples))
        if missing := [example for example in examples if example not in rows]:
            raise ConfigError(
                f"data.prepared: {folder} lacks {len(missing)} of {len(examples)} examples, such as "
                f"{missing[0].prompt[:60]!r}; run `arr prepare` with this recipe"
            )
        return rows

    def __contains__(self, example: object) -> bool:
        """Without reading the row."""
        return isinstance(example, Example) and example_key(example) in self._places

    def __getitem__(self, example: Example) -> Row:
        """Read one row."""
        file, number = self._places[example_key(example)]
        prefix = f"{number}/"
        with safe_open(self._folder / file, framework="pt") as shard:
            names = [name for name in shard.keys() if name.startswith(prefix)]  # noqa: SIM118 - it is no mapping
            return {name.removeprefix(prefix): shard.get_tensor(name) for name in names}

    def __iter__(self) -> Iterator[Example]:
        """Not possible: keys are digests."""
        raise TypeError("prepared rows can be looked up, not listed")

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._places)


class RowWriter:
    """Adds rows to a folder; those that are not in a file yet are lost unless `flush` is called."""

    def __init__(self, folder: Path, encoders: EncoderIdentity, *, max_rows: int = MAX_ROWS) -> None:
        """Raises `ConfigError` when other encoders filled the folder."""
        index = read_index(folder) or Index(encoders=encoders)
        refuse_other_encoders(folder, index, encoders)
        self._folder = folder
        self._max_rows = max_rows
        self._index = index.model_copy(update={"shards": whole_shards(folder, index)})
        self._rows: dict[str, Row] = {}
        self._num_bytes = 0
        self._remove_strays()

    @property
    def rows(self) -> PreparedRows:
        """What is in files already."""
        return PreparedRows(self._folder, self._index.shards)

    def add(self, example: Example, row: Row) -> None:
        """Keep a row; whenever there is enough for a file, write it."""
        kept = {name: tensor.cpu() for name, tensor in row.items()}
        self._rows[example_key(example)] = kept
        self._num_bytes += sum(tensor.nbytes for tensor in kept.values())
        if len(self._rows) >= self._max_rows or self._num_bytes >= MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        if not self._rows:
            return
        keys = tuple(self._rows)
        path = self._folder / f"{len(self._index.shards):05d}-{json_digest(keys)[7:19]}.safetensors"
        draft = path.with_suffix(".draft")
        save_file(_by_number(self._rows.values()), draft)
        flush_to_disk(draft)
        draft.replace(path)
        shard = Shard(file=path.name, num_bytes=path.stat().st_size, keys=keys)
        self._index = self._index.model_copy(update={"shards": (*self._index.shards, shard)})
        write_whole(self._folder / INDEX, self._index.model_dump_json().encode())
        self._rows, self._num_bytes = {}, 0

    def _remove_strays(self) -> None:
        """What a process that was killed left behind."""
        named = {shard.file for shard in self._index.shards}
        for path in (*self._folder.glob("*.safetensors"), *self._folder.glob("*.draft")):
            if path.name not in named:
                path.unlink()


def read_index(folder: Path) -> Index | None:
    """The folder's index, if it has one. Raises `ConfigError` for one that this version cannot read."""
    try:
        return Index.model_validate_json((folder / INDEX).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{folder / INDEX} is not of this version of `arr prepare`; remove {folder}") from error


def refuse_other_encoders(folder: Path, index: Index, wanted: EncoderIdentity) -> None:
    """Raise `ConfigError` when the rows are not what `wanted` would make."""
    if difference := index.encoders.difference_to(wanted):
        raise ConfigError(
            f"data.prepared: {folder} was prepared with {difference}; name another folder and run `arr prepare` with "
            "this recipe"
        )


def whole_shards(folder: Path, index: Index) -> tuple[Shard, ...]:
    """Shards whose file is there and complete; the rows of others are prepared anew."""
    return tuple(shard for shard in index.shards if _size(folder / shard.file) == shard.num_bytes)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _by_number(rows: Iterable[Row]) -> dict[str, Tensor]:
    """Each tensor as one of its own: a file holds no views of shared memory."""
    return {
        f"{number}/{name}": tensor.clone(memory_format=torch.contiguous_format)
        for number, row in enumerate(rows)
        for name, tensor in row.items()
    }
