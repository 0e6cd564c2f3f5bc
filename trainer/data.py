"""Examples: read them, and say which ones a step trains on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from shared_schemas.base import Text
from shared_schemas.rubrics import json_digest
from trainer.errors import ConfigError

_TEXT: TypeAdapter[str] = TypeAdapter(Text)
"""What the reward service takes for a prompt."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A picture that an edit starts from; equal files are equal, wherever they lie."""

    digest: str
    """SHA-256 of the file."""
    path: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Example:
    """What a group of candidates is made for: a prompt, or an edit instruction with the pictures it is about."""

    prompt: str
    sources: tuple[SourceImage, ...] = ()
    """The first is the one that is edited, and shown to the judge; others are references."""


def data_digest(examples: Sequence[Example]) -> str:
    """Changes with any prompt, any picture and their order; not with where the files lie."""
    return json_digest([[example.prompt, *(source.digest for source in example.sources)] for example in examples])


def read_examples(path: Path) -> tuple[Example, ...]:
    """Examples of a JSON Lines file of `{"prompt": …}` or `{"prompt": …, "source_image": "before.png"}`.

    `source_image` is a path, or a list of paths, relative to the file. Raises `ConfigError` naming the line that is
    wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: prompts cannot be read ({error})") from error
    examples = tuple(
        _example(line, where=f"{path}:{number}", folder=path.parent)
        for number, line in enumerate(lines, 1)
        if line.strip()
    )
    if not examples:
        raise ConfigError(f'{path}: holds no prompts; write one {{"prompt": "…"}} per line')
    return examples


def _example(line: str, *, where: str, folder: Path) -> Example:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON ({error.msg})") from error
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
        raise ConfigError(f'{where}: expected {{"prompt": "some text"}}')
    try:
        prompt = _TEXT.validate_python(row["prompt"])
    except ValidationError as error:
        raise ConfigError(f"{where}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    return Example(prompt, _sources(row.get("source_image"), where=where, folder=folder))


def _sources(value: Any, *, where: str, folder: Path) -> tuple[SourceImage, ...]:
    names = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"{where}: source_image must be a path, or a list of paths")
    return tuple(_source(folder / name, where=where) for name in names)


def _source(path: Path, *, where: str) -> SourceImage:
    try:
        return SourceImage(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    except OSError as error:
        raise ConfigError(f"{where}: the source image {path} cannot be read ({error.strerror})") from error


def derive_seed(*parts: int | str) -> int:
    """A seed that is a function of all parts: the run's seed, what it is for, the step, the group …"""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by `derive_seed`: the same numbers on every device and after every restart."""
    return torch.Generator().manual_seed(derive_seed(*parts))


class ExampleSampler:
    """An endless stream of reshuffled epochs, addressed by step: there is no position to save or to lose."""

    def __init__(self, examples: Sequence[Example], *, seed: int) -> None:
        self._examples = examples
        self._seed = seed

    def batch(self, step: int, num_groups: int) -> tuple[Example, ...]:
        """The examples of a step; the stream continues where the step before ended."""
        size, first = len(self._examples), step * num_groups
        positions = range(first, first + num_groups)
        orders = {epoch: self._order(epoch) for epoch in range(positions[0] // size, positions[-1] // size + 1)}
        return tuple(self._examples[orders[position // size][position % size]] for position in positions)

    def _order(self, epoch: int) -> list[int]:
        order = torch.randperm(len(self._examples), generator=generator(self._seed, "epoch", epoch))
        return [int(index) for index in order]
