import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.records import AlarmRecord, Diversity, EvaluationRecord, HeldOutJudge, WinRate
from trainer.trackers import Tracker, make_trackers, scalars, side_by_side, tracker_names

MakeConfig = Callable[..., TrainConfig]


def _win_rate(rate: float) -> WinRate:
    return WinRate(wins=1, ties=0, losses=0, win_rate=rate, low=0.0, high=1.0, mean_margin=None)


def _evaluation(step: int, **changes: Any) -> EvaluationRecord:
    values: dict[str, Any] = {
        "step": step,
        "overall": _win_rate(0.75),
        "held_out": None,
        "held_out_judge": HeldOutJudge(
            rubric_digest="d", judge_fingerprint="f", overall=_win_rate(0.25), failed=0, problem=None
        ),
        "diversity": Diversity(base=0.5, tuned=0.25, relative=0.5, lowest=0.125),
        "failed": 0,
        "is_average": False,
        "seconds": 1.0,
    }
    return EvaluationRecord(**(values | changes))


def _grid(path: Path, colour: int, *, rows: int = 2, columns: int = 2, side: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((rows * side, columns * side, 3), colour, dtype=np.uint8)).save(path)


def _tracker(config: TrainConfig, lines: list[str]) -> Tracker:
    (tracker,) = make_trackers(config, announce=lines.append)
    return tracker


def _events(config: TrainConfig) -> EventAccumulator:
    events = EventAccumulator(str(config.output_dir / "tracking" / "tensorboard"))
    events.Reload()
    return events


def test_numbers_have_their_path_and_what_is_null_or_text_has_none() -> None:
    found = dict(scalars(_evaluation(10)))
    assert found["evaluation/overall/win_rate"] == 0.75
    assert found["evaluation/held_out_judge/overall/win_rate"] == 0.25
    assert found["evaluation/diversity/relative"] == 0.5
    assert not any("mean_margin" in key or "digest" in key or key.endswith(("step", "kind")) for key in found)
    alarm = AlarmRecord(step=20, since_step=10, training_change=0.1, held_out_change=-0.1, p_value=0.001)
    assert dict(scalars(alarm))["alarm/held_out_change"] == -0.1


def test_tensorboard_shows_the_curves_the_pictures_and_the_recipe(make_config: MakeConfig) -> None:
    config = make_config(tracking={"trackers": ["tensorboard"]})
    lines: list[str] = []
    tracker = _tracker(config, lines)
    tracker.start(first_step=0, num_steps=10)
    _grid(config.output_dir / "evaluations" / "base.png", 0)
    _grid(config.output_dir / "evaluations" / "step-000010.png", 200)
    tracker.log(_evaluation(10))
    tracker.close()
    assert lines == []
    events = _events(config)
    (point,) = events.Scalars("evaluation/held_out_judge/overall/win_rate")
    assert (point.step, point.value) == (10, 0.25)
    (shown,) = events.Images("evaluation/base left, tuned right")
    picture = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)))
    assert picture.shape == (8, 8 + 2 + 8, 3)
    assert (picture[0, 0, 0], picture[0, 9, 0], picture[7, 17, 0]) == (0, 255, 200)
    (recipe,) = events.Tensors("recipe/text_summary")
    assert b'"learning_rate"' in recipe.tensor_proto.string_val[0]


def test_a_run_that_goes_on_shows_no_step_twice(make_config: MakeConfig) -> None:
    config = make_config(tracking={"trackers": ["tensorboard"]})
    for first_step in (0, 2):
        tracker = _tracker(config, [])
        tracker.start(first_step=first_step, num_steps=4)
        for step in range(first_step, 4):
            tracker.log(
                AlarmRecord(step=step, since_step=0, training_change=first_step, held_out_change=0.0, p_value=0.0)
            )
        tracker.close()
    points = _events(config).Scalars("alarm/training_change")
    assert [(point.step, point.value) for point in points] == [(0, 0.0), (1, 0.0), (2, 2.0), (3, 2.0)]


def test_a_tracker_that_fails_is_one_line_and_off_from_then_on(make_config: MakeConfig) -> None:
    config = make_config(tracking={"trackers": ["tensorboard"]})
    lines: list[str] = []
    tracker = _tracker(config, lines)
    tracker.start(first_step=0, num_steps=10)
    for _ in range(2):
        tracker.log(_evaluation(10))  # whose picture is not there
    tracker.close()
    (line,) = lines
    assert line.startswith("tracking: tensorboard failed and is off from here on (FileNotFoundError")
    assert line.endswith("see metrics.jsonl")


def test_a_tracker_that_cannot_start_does_not_stop_the_run_either(make_config: MakeConfig) -> None:
    config = make_config(tracking={"trackers": ["tensorboard"]})
    config.output_dir.mkdir()
    (config.output_dir / "tracking").write_text("in the way")
    lines: list[str] = []
    tracker = _tracker(config, lines)
    tracker.start(first_step=0, num_steps=10)
    tracker.log(_evaluation(10))
    tracker.close()
    assert len(lines) == 1


def test_a_tracker_that_is_asked_for_and_not_installed_is_a_mistake_in_the_recipe(make_config: MakeConfig) -> None:
    assert tracker_names(make_config()) == ("tensorboard",)
    assert tracker_names(make_config(tracking={"trackers": []})) == ()
    with pytest.raises(ConfigError, match=r"pip install 'rubric-reward\[trackio\]'"):
        tracker_names(make_config(tracking={"trackers": ["trackio"]}))


def test_a_large_grid_is_shown_in_part_and_small(tmp_path: Path) -> None:
    _grid(tmp_path / "base.png", 10, rows=10, columns=6, side=256)
    shutil.copyfile(tmp_path / "base.png", tmp_path / "tuned.png")
    picture = side_by_side(tmp_path / "base.png", tmp_path / "tuned.png", num_columns=6)
    assert picture.shape == (8 * 128, 2 * 4 * 128 + 12, 3)
