"""Prompts: read them, and say which ones a step trains on."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from shared_schemas.base import Text
from trainer.errors import ConfigError

_TEXT: TypeAdapter[str] = TypeAdapter(Text)
"""What the reward service takes for a prompt."""


def read_prompts(path: Path) -> tuple[str, ...]:
    """Prompts of a JSON Lines file of `{"prompt": …}`. Raises `ConfigError` naming the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: prompts cannot be read ({error})") from error
    prompts = tuple(_prompt(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())
    if not prompts:
        raise ConfigError(f'{path}: holds no prompts; write one {{"prompt": "…"}} per line')
    return prompts


def _prompt(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON ({error.msg})") from error
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
        raise ConfigError(f'{where}: expected {{"prompt": "some text"}}')
    try:
        return _TEXT.validate_python(row["prompt"])
    except ValidationError as error:
        raise ConfigError(f"{where}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def derive_seed(*parts: int | str) -> int:
    """A seed that is a function of all parts: the run's seed, what it is for, the step, the group …"""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by `derive_seed`: the same numbers on every device and after every restart."""
    return torch.Generator().manual_seed(derive_seed(*parts))


class PromptSampler:
    """An endless stream of reshuffled epochs, addressed by step: there is no position to save or to lose."""

    def __init__(self, prompts: Sequence[str], *, seed: int) -> None:
        self._prompts = prompts
        self._seed = seed

    def batch(self, step: int, num_prompts: int) -> tuple[str, ...]:
        """The prompts of a step; the stream continues where the step before ended."""
        size, first = len(self._prompts), step * num_prompts
        positions = range(first, first + num_prompts)
        orders = {epoch: self._order(epoch) for epoch in range(positions[0] // size, positions[-1] // size + 1)}
        return tuple(self._prompts[orders[position // size][position % size]] for position in positions)

    def _order(self, epoch: int) -> list[int]:
        order = torch.randperm(len(self._prompts), generator=generator(self._seed, "epoch", epoch))
        return [int(index) for index in order]
