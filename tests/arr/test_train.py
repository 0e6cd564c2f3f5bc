"""`arr train` and `arr export`: mistakes are said at once, in one line, and signals stop a run in order."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import Result

from arr.console import ExitCode
from arr.service_process import running_service
from arr.train import Launched, _way_on, stop_on_signal
from trainer.config import load_config
from trainer.errors import JudgesParted, RewardsUnavailable, SelfCheckError, TrainerError, TrainingDiverged

RECIPE = Path(__file__).parents[2] / "trainer" / "configs" / "tiny_flux.toml"


@pytest.mark.parametrize("command", ["train", "export"])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.toml"], "nowhere.toml"),
        ([RECIPE, "stepss=3"], "stepss"),
        ([RECIPE, "steps=0"], "steps"),
        ([RECIPE, "steps"], "section.key=value"),
        ([RECIPE, "reward.tie_margin=wide"], "reward.tie_margin"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_that_names_the_key(
    arr: Callable[..., Result], command: str, arguments: list[object], complaint: str
) -> None:
    result = arr(command, *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_exporting_a_run_that_never_was_is_one_line(arr: Callable[..., Result], tmp_path: Path) -> None:
    result = arr("export", RECIPE, f"output_dir={tmp_path / 'run'}", "--offline")
    assert result.exit_code == 2
    assert str(tmp_path / "run") in result.stderr.replace("\n", "")


def test_exporting_without_a_service_names_the_way_without_one(
    arr: Callable[..., Result], free_port: Callable[[], int]
) -> None:
    result = arr("export", RECIPE, f"reward.url=http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "is `arr serve` running" in result.stderr
    assert "--offline" in result.stderr


@pytest.mark.parametrize(
    ("error", "way_on"),
    [
        (RewardsUnavailable("x"), "the same command goes on from its last checkpoint"),
        (TrainingDiverged("x"), "lower optimizer.learning_rate (0.001) or loss.kl_weight (0.1), in another output_dir"),
        (JudgesParted("x"), ""),
        (SelfCheckError("x"), ""),
    ],
)
def test_only_where_the_same_command_goes_on_does_it_say_so(error: TrainerError, way_on: str) -> None:
    overrides = ["reward.rubric=x", "optimizer.learning_rate=1e-3", "loss.kl_weight=0.1"]
    said = _way_on(error, load_config(RECIPE, overrides))
    assert said.endswith(way_on)
    assert bool(said) == bool(way_on)


@pytest.fixture
def not_under_nohup() -> Iterator[None]:
    """SIGHUP as a terminal leaves it, however these tests were started."""
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, former)


def _raise_in_turn(*numbers: signal.Signals) -> None:
    for number in numbers:
        signal.raise_signal(number)


@pytest.mark.usefixtures("not_under_nohup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_to_stop_and_the_former_handlers_come_back(number: signal.Signals) -> None:
    former = signal.getsignal(number)
    with stop_on_signal() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
    assert signal.getsignal(number) is former


@pytest.mark.usefixtures("not_under_nohup")
def test_under_a_launcher_which_repeats_signals_no_number_of_them_leaves_at_once() -> None:
    with stop_on_signal(is_launched=True) as stop:
        _raise_in_turn(signal.SIGINT, signal.SIGINT, signal.SIGTERM)
        assert stop.is_set()


@pytest.mark.parametrize(
    ("rank", "local_rank", "speaks"), [("0", "0", True), ("1", "1", False), ("8", "0", True), (None, None, True)]
)
def test_of_processes_that_fail_alike_one_per_machine_says_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rank: str | None,
    local_rank: str | None,
    speaks: bool,
) -> None:
    for name, value in (("RANK", rank), ("LOCAL_RANK", local_rank)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    launched = Launched.of_environment()
    assert launched.is_launched == (rank is not None)
    assert launched.is_first == (rank in {None, "0"})
    with pytest.raises(typer.Exit) as left:
        launched.fail("no judge", code=ExitCode.USAGE)
    assert left.value.exit_code == ExitCode.USAGE
    assert capsys.readouterr().err == ("error: no judge\n" if speaks else "")


@pytest.mark.usefixtures("not_under_nohup")
def test_a_closed_terminal_may_say_so_twice() -> None:
    with stop_on_signal() as stop:
        _raise_in_turn(signal.SIGHUP, signal.SIGHUP)
        assert stop.is_set()


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.mark.usefixtures("not_under_nohup")
def test_a_second_signal_leaves_at_once_and_takes_the_service_along(tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit) as left,
        stop_on_signal(),
        running_service(tmp_path / "data", log=tmp_path / "log") as service,
    ):
        _raise_in_turn(signal.SIGHUP, signal.SIGTERM)
    assert left.value.code == 128 + signal.SIGTERM
    with pytest.raises(httpx.ConnectError):
        httpx.get(service.url, trust_env=False)


@pytest.mark.usefixtures("not_under_nohup")
def test_a_run_whose_terminal_closes_can_still_write() -> None:
    script = (
        "import fcntl, sys, termios; from arr.train import stop_on_signal\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "with stop_on_signal() as stop:\n"
        "    print('ready', flush=True)\n"
        "    assert stop.wait(30)\n"
        "    print('a step', flush=True)\n"
        "sys.exit(7)"
    )
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=other, stdout=other, stderr=other, start_new_session=True
    )
    os.close(other)
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    assert process.wait(timeout=30) == 7
