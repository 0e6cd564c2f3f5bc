"""Checkpoints: written temp-then-rename with checksums, so that the newest one that loads is whole.

There is no random state to save: every random number of a run is a function of (seed, step, group), see
`data.generator`.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.errors import ConfigError
from trainer.files import flush_to_disk, write_whole
from trainer.records import ChangeRecord

_ADAPTER = "adapter.safetensors"
_EMA = "ema.safetensors"
_OPTIMIZER = "optimizer.pt"
_STATE = "state.json"
_CHECKSUMS = "SHA256SUMS"
"""As `sha256sum` writes it, so that `sha256sum -c` checks a checkpoint."""
_BEST = "best"
"""Beside the checkpoints; holds the name of one."""

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

    def refuse_other(self, other: "RunState", *, accept: Collection[str] = ()) -> None:
        """Raise `ConfigError` when `other` would not continue this run; `accept` may hold `rubric` and `judge`."""
        self.refuse_other_recipe(other.recipe)
        if self.data_digest != other.data_digest:
            raise ConfigError(f"{_OTHER_RUN} was trained on other data; {_WAY_OUT}")
        for change in self.changes_to(other):
            if change.what not in accept:
                name = {"rubric": "rubric version", "judge": "judge"}[change.what]
                way_on = f"or go on nevertheless: checkpoint.accept_changes='[\"{change.what}\"]'"
                raise ConfigError(f"{_OTHER_RUN} was rewarded by another {name}; {_WAY_OUT}, {way_on}")

    def changes_to(self, other: "RunState") -> tuple[ChangeRecord, ...]:
        """In what `other` is rewarded differently."""
        compared = (
            ChangeRecord(step=self.step, what="rubric", before=self.rubric_digest, after=other.rubric_digest),
            ChangeRecord(step=self.step, what="judge", before=self.judge_fingerprint, after=other.judge_fingerprint),
        )
        return tuple(change for change in compared if change.before != change.after)

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
    ema: dict[str, Tensor] | None = None
    """The averaged adapter, by the same names, where one is kept."""


class CheckpointStore:
    """The checkpoints of one run, `step-000010`, `step-000020` …; keeps the newest `keep`, and the best one."""

    def __init__(self, directory: Path, *, keep: int, report: Callable[[str], None] = lambda text: None) -> None:
        """`report` receives a line about each checkpoint that is damaged."""
        self._directory = directory
        self._keep = keep
        self._report = report

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint and forget the oldest ones."""
        target = self._directory / _name(checkpoint.state.step)
        if target.exists():
            if _damage(target) is None:
                return target  # equal steps of a run hold equal things
            shutil.rmtree(target)
        draft = self._directory / f".draft-{checkpoint.state.step:06d}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_file(checkpoint.adapter, draft / _ADAPTER)
        torch.save(checkpoint.optimizer, draft / _OPTIMIZER)
        if checkpoint.ema is not None:
            save_file(checkpoint.ema, draft / _EMA)
        (draft / _STATE).write_text(json.dumps(asdict(checkpoint.state), indent=2))
        sums = "".join(f"{_digest(path)}  {path.name}\n" for path in sorted(draft.iterdir()))
        (draft / _CHECKSUMS).write_text(sums)
        for path in (*draft.iterdir(), draft):
            flush_to_disk(path)
        draft.rename(target)
        flush_to_disk(self._directory)
        self._forget_before(target)
        return target

    def mark_best(self, step: int) -> None:
        """Keep the checkpoint of that step until another one is marked."""
        write_whole(self._directory / _BEST, f"{_name(step)}\n".encode())
        self._forget_before(self._directory / _name(step))

    def best(self) -> Checkpoint | None:
        """The one that was marked, or None when none was. Raises `ConfigError` when it is damaged."""
        directory = self._marked()
        if directory is None:
            return None
        if damage := _damage(directory):
            raise ConfigError(f"the best checkpoint, {directory}, is damaged ({damage})")
        return _read(directory)

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint, or None when the run has not been saved yet.

        Raises `ConfigError` for one that another version of this program wrote, and when all are damaged: starting over
        is for a person to decide.
        """
        saved = self._saved()
        for directory in reversed(saved):
            damage = _damage(directory)
            if damage is None:
                return _read(directory)
            self._report(f"checkpoint {directory.name} is damaged ({damage}) and left out")
        if saved:
            raise ConfigError(f"all checkpoints in {self._directory} are damaged; remove them to start over")
        return None

    def _saved(self) -> list[Path]:
        return sorted(self._directory.glob("step-*"))

    def _marked(self) -> Path | None:
        mark = self._directory / _BEST
        return self._directory / mark.read_text().strip() if mark.exists() else None

    def _forget_before(self, newest: Path) -> None:
        """What comes after it is damaged: the run went on from before, and will write it again."""
        until_newest, best = [saved for saved in self._saved() if saved <= newest], self._marked()
        for old in until_newest[: -self._keep]:
            if old != best:
                shutil.rmtree(old)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _read(directory: Path) -> Checkpoint:
    ema = directory / _EMA
    return Checkpoint(
        state=_read_state(directory / _STATE),
        adapter=load_file(directory / _ADAPTER),
        optimizer=torch.load(directory / _OPTIMIZER, map_location="cpu", weights_only=True),
        ema=load_file(ema) if ema.exists() else None,
    )


def _damage(directory: Path) -> str | None:
    """What is wrong with a checkpoint's files; none when all are as they were written."""
    try:
        sums = dict(line.split("  ")[::-1] for line in (directory / _CHECKSUMS).read_text().splitlines())
        changed = [name for name, digest in sums.items() if _digest(directory / name) != digest]
    except OSError as error:
        return f"{Path(error.filename).name}: {error.strerror}"
    except ValueError:
        return f"{_CHECKSUMS} is unreadable"
    if not {_STATE, _ADAPTER, _OPTIMIZER} <= set(sums):
        return f"{_CHECKSUMS} is cut off"
    return f"{changed[0]} is not as it was written" if changed else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_state(path: Path) -> RunState:
    values = json.loads(path.read_text())
    if set(values) != {field.name for field in fields(RunState)}:
        raise ConfigError(f"{path} was written by another version of rubric-reward; go on with that one")
    return RunState(**values)


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat
