"""Curves and image grids in TensorBoard, wandb or trackio, through Accelerate's trackers.

The one rule: a tracker is a window, not a part of the run. One that fails is announced in one line and left alone from
then on; `metrics.jsonl` has everything that it would have shown.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker
from numpy.typing import NDArray
from PIL import Image

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.files import write_whole
from trainer.records import EvaluationRecord, Record

TrackerName: TypeAlias = Literal["tensorboard", "wandb", "trackio"]

_ROWS, _COLUMNS, _CELL = 8, 4, 128
"""What is shown of an evaluation: prompts, noises, and the largest side of an image in pixels; its files have all."""

_JUDGES = ["evaluation/overall/win_rate", "evaluation/held_out_judge/overall/win_rate"]
"""The curves that belong in one picture."""


def tracker_names(config: TrainConfig) -> tuple[TrackerName, ...]:
    """What the recipe asks for. Raises `ConfigError` for one that is not installed."""
    asked = config.tracking.trackers
    if asked is None:
        return ("tensorboard",) if find_spec("tensorboard") else ()
    for name in asked:
        if find_spec(name) is None:
            raise ConfigError(f"tracking.trackers: {name} is not installed; pip install 'rubric-reward[{name}]'")
    return asked


class Tracker:
    """A `Monitor` that passes records on to one of Accelerate's trackers, and the grids of evaluations with them."""

    def __init__(self, name: TrackerName, config: TrainConfig, *, announce: Callable[[str], None]) -> None:
        self._name = name
        self._config = config
        self._announce = announce
        self._folder = config.output_dir / "tracking"
        self._tracker: GeneralTracker | None = None
        self._is_off = False

    def start(self, *, first_step: int, num_steps: int) -> None:
        """See `Monitor.start`."""
        self._attempt(lambda: self._open(first_step))

    def log(self, record: Record) -> None:
        """See `Monitor.log`."""
        self._attempt(lambda: self._log(record))

    def close(self) -> None:
        """Write out what is left; the run is over, or interrupted."""
        if self._tracker is not None:
            self._attempt(self._tracker.finish)

    def _attempt(self, work: Callable[[], None]) -> None:
        if self._is_off:
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - somebody else's window: whatever breaks in it, the run goes on
            self._is_off = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self._announce(f"tracking: {self._name} failed and is off from here on ({reason}); see metrics.jsonl")

    def _open(self, first_step: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._tracker = self._make(first_step)
        self._tracker.start()
        if isinstance(self._tracker, TensorBoardTracker):
            recipe = json.dumps(self._config.model_dump(mode="json"), indent=2)
            self._tracker.log({"recipe": f"```json\n{recipe}\n```"}, step=first_step)
            self._tracker.writer.add_custom_scalars({"evaluation": {"win rate": ["Multiline", _JUDGES]}})
        else:
            self._tracker.store_init_configuration(self._config.model_dump(mode="json"))

    def _make(self, first_step: int) -> GeneralTracker:
        """When a run goes on, what was tracked after its last checkpoint is dropped (trackio: shown beside the new)."""
        name, project = self._config.output_dir.resolve().name, self._config.tracking.project
        match self._name:
            case "tensorboard":
                return TensorBoardTracker(self._name, self._folder, purge_step=first_step)
            case "wandb":
                id_ = self._run_id(is_new=first_step == 0)
                return WandBTracker(project, name=name, id=id_, resume="allow", dir=str(self._folder))
            case "trackio":
                id_ = self._run_id(is_new=first_step == 0)
                return TrackioTracker(project, name=f"{name}-{id_}", resume="allow")

    def _run_id(self, *, is_new: bool) -> str:
        path = self._folder / "run_id"
        if is_new or not path.exists():
            write_whole(path, uuid.uuid4().hex[:12].encode())
        return path.read_text()

    def _log(self, record: Record) -> None:
        if self._tracker is None:
            return
        self._tracker.log(dict(scalars(record)), step=record.step)
        if isinstance(record, EvaluationRecord):
            self._show(self._tracker, record)

    def _show(self, tracker: GeneralTracker, record: EvaluationRecord) -> None:
        folder = self._config.output_dir / "evaluations"
        base, tuned = folder / "base.png", folder / f"step-{record.step:06d}.png"
        picture = side_by_side(base, tuned, num_columns=self._config.evaluation.images_per_prompt)
        title = f"evaluation/base left, {'average' if record.is_average else 'tuned'} right"
        if isinstance(tracker, TensorBoardTracker):
            tracker.log_images({title: picture[None]}, step=record.step, dataformats="NHWC")
        elif isinstance(tracker, WandBTracker):
            tracker.log_images({title: [picture]}, step=record.step)
        else:
            trackio = import_module("trackio")

            tracker.log({title: trackio.Image(picture)}, step=record.step)


def scalars(record: Record) -> Iterator[tuple[str, float]]:
    """The numbers of a record by path, `evaluation/overall/win_rate`; those that are null are left out."""
    values = asdict(record)
    del values["step"]
    return _leaves(values, values.pop("kind"))


def _leaves(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}/{key}")
        elif isinstance(value, int | float):
            yield f"{prefix}/{key}", float(value)


def side_by_side(base: Path, tuned: Path, *, num_columns: int) -> NDArray[np.uint8]:
    """The first images of the first prompts, base left and tuned right, white between: uint8 [H, W, 3]."""
    halves = [_corner(path, num_columns=num_columns) for path in (base, tuned)]
    gap = np.full((halves[0].shape[0], max(2, halves[0].shape[1] // 40), 3), 255, dtype=np.uint8)
    return np.concatenate([halves[0], gap, halves[1]], axis=1)


def _corner(path: Path, *, num_columns: int) -> NDArray[np.uint8]:
    """Of a grid of square images."""
    with Image.open(path) as grid:
        side = grid.width // num_columns
        columns, rows = min(_COLUMNS, num_columns), min(_ROWS, grid.height // side)
        corner = grid.crop((0, 0, columns * side, rows * side))
    cell = min(side, _CELL)
    return np.asarray(corner.resize((columns * cell, rows * cell), Image.Resampling.BOX))


def make_trackers(config: TrainConfig, *, announce: Callable[[str], None]) -> Sequence[Tracker]:
    """Those that the recipe asks for, none of them started. Raises `ConfigError` for one that is not installed."""
    return [Tracker(name, config, announce=announce) for name in tracker_names(config)]
