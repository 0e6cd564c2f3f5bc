from pathlib import Path
from threading import Event

from arr.demo.run import DemoSettings, forget_finished_runs, run_demo
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
