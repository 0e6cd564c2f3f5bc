"""Checkpoints: written temp-then-rename, so that the newest one on disk is always whole.

There is no random state to save: every random number of a run is a function of (seed, step, group), see
`data.generator`.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.errors import ConfigError

_ADAPTER = "adapter.safetensors"
_OPTIMIZER = "optimizer.pt"
_STATE = "state.json"

_OTHER_RUN = "the run in this output_dir"
_WAY_OUT = "restore what it used, or choose another output_dir"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """What must not change between the parts of a run, and how far it is."""

    step: int
    """Optimizer steps done."""
    recipe: dict[str, Any]
    """The part of the configuration that shapes the result."""
    data_digest: str
    rubric_digest: str
    judge_fingerprint: str

    def refuse_other(self, other: "RunState") -> None:
        """Raise `ConfigError` when `other` would not continue this run."""
        self.refuse_other_recipe(other.recipe)
        if self.data_digest != other.data_digest:
            raise ConfigError(f"{_OTHER_RUN} was trained on other data; {_WAY_OUT}")
        if self.rubric_digest != other.rubric_digest:
            raise ConfigError(f"{_OTHER_RUN} was rewarded by another rubric version; {_WAY_OUT}")
        if self.judge_fingerprint != other.judge_fingerprint:
            raise ConfigError(f"{_OTHER_RUN} was rewarded by another judge; {_WAY_OUT}")

    def refuse_other_recipe(self, recipe: dict[str, Any]) -> None:
        """Raise `ConfigError` naming the keys in which `recipe` is not the one of this run."""
        keys = {key for key, _ in _flatten(self.recipe).items() ^ _flatten(recipe).items()}
        if keys:
            raise ConfigError(f"{_OTHER_RUN} was started with other values of {', '.join(sorted(keys))}; {_WAY_OUT}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A saved run."""

    state: RunState
    adapter: dict[str, Tensor]
    optimizer: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run, `step-000010`, `step-000020` …; keeps the newest `keep`."""

    def __init__(self, directory: Path, *, keep: int) -> None:
        self._directory = directory
        self._keep = keep

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint and forget the oldest ones."""
        target = self._directory / f"step-{checkpoint.state.step:06d}"
        if target.exists():
            return target  # equal steps of a run hold equal things
        draft = self._directory / f".draft-{checkpoint.state.step:06d}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_file(checkpoint.adapter, draft / _ADAPTER)
        torch.save(checkpoint.optimizer, draft / _OPTIMIZER)
        (draft / _STATE).write_text(json.dumps(asdict(checkpoint.state), indent=2))
        for path in (*draft.iterdir(), draft):
            _flush_to_disk(path)
        draft.rename(target)
        _flush_to_disk(self._directory)
        for old in self._saved()[: -self._keep]:
            shutil.rmtree(old)
        return target

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint, or None when the run has not been saved yet.

        Raises `ConfigError` for one that another version of this program wrote.
        """
        saved = self._saved()
        if not saved:
            return None
        return Checkpoint(
            state=_read_state(saved[-1] / _STATE),
            adapter=load_file(saved[-1] / _ADAPTER),
            optimizer=torch.load(saved[-1] / _OPTIMIZER, map_location="cpu", weights_only=True),
        )

    def _saved(self) -> list[Path]:
        return sorted(self._directory.glob("step-*"))


def _read_state(path: Path) -> RunState:
    values = json.loads(path.read_text())
    if set(values) != {field.name for field in fields(RunState)}:
        raise ConfigError(f"{path} was written by another version of rubric-reward; go on with that one")
    return RunState(**values)


def _flush_to_disk(path: Path) -> None:
    """Without it, a power cut after the rename can leave a named but empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat
