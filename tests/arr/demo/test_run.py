from pathlib import Path
from threading import Event

import pytest

from arr.demo.run import DemoSettings, forget_finished_runs, run_demo
from arr.demo.stages import silent
from trainer.errors import ConfigError
from trainer.monitors import Monitors


def test_stopping_during_pre_training_leaves_at_once_and_keeps_nothing_half_done(tmp_path: Path) -> None:
    stop, seen = Event(), []

    def stage(name: str, done: int, total: int) -> None:
        seen.append((name, done))
        stop.set()

    settings = DemoSettings(output=tmp_path / "out", cache=tmp_path / "cache")
    assert run_demo(settings, stage=stage, monitor=Monitors(), announce=print, stop=stop) is None
    assert seen == [("autoencoder", 1)]
    assert list(settings.cache.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stps=5", "stps: Extra inputs are not permitted"),
        ("model.resolution=64", "the demo sets this itself"),
        ("reward.dispreferred=2.0", "must be above dispreferred"),
    ],
)
def test_a_mistaken_override_shows_before_anything_is_built(tmp_path: Path, override: str, message: str) -> None:
    settings = DemoSettings(output=tmp_path / "out", cache=tmp_path / "cache", overrides=(override,))
    with pytest.raises(ConfigError, match=message):
        run_demo(settings, stage=silent, monitor=Monitors(), announce=print, stop=Event())
    assert not settings.cache.exists()


def _run(folder: Path, *, is_finished: bool) -> Path:
    (folder / "run").mkdir(parents=True)
    if is_finished:
        (folder / "report.html").touch()
    return folder


def test_seeds_start_anew_together_once_the_last_one_is_finished(tmp_path: Path) -> None:
    first, second = _run(tmp_path / "0", is_finished=True), _run(tmp_path / "1", is_finished=False)
    forget_finished_runs([first, second])
    assert (first / "run").exists()
    (second / "report.html").touch()
    forget_finished_runs([first, second])
    assert list(first.iterdir()) == list(second.iterdir()) == []
