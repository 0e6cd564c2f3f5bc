"""Rubric sets learned from labelled pairs, over real HTTP, against everything that learning must be worth."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from arr.service_process import ServiceProcess, running_service
from examples.learn_rubrics import run
from examples.learn_rubrics.random_sets import NUM_SETS
from examples.learn_rubrics.targets import Outcome, targets_of
from reward_client import RewardClient
from shared_schemas.jobs import JobState

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "learn_rubrics"
PROGRAMS = {".venv/bin/arr": [sys.executable, "-m", "arr.main"], ".venv/bin/python": [sys.executable]}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Both tasks, from pairs to figures."""
    return run.run_all(tmp_path_factory.mktemp("learned"), watch=lambda: nullcontext(lambda _job: None))


@pytest.mark.parametrize("index", [0, 1], ids=["shapes", "edits"])
def test_a_learned_set_reaches_every_target(index: int, outcomes: list[Outcome]) -> None:
    found = targets_of(outcomes[index])
    assert len(found) == 5
    assert [f"{target.name}: {target.measured}" for target in found if not target.is_met] == []


@pytest.mark.parametrize("index", [0, 1], ids=["shapes", "edits"])
def test_all_that_is_compared_was_measured_on_the_same_held_out_pairs(index: int, outcomes: list[Outcome]) -> None:
    outcome = outcomes[index]
    reports = (outcome.learned, outcome.none, outcome.biased, *outcome.random)
    assert len(reports) == 3 + NUM_SETS
    assert len({report.num_pairs for report in reports}) == 1
    assert outcome.learned.num_pairs >= 12
    assert {report.num_failed for report in reports} == {0}


@pytest.mark.parametrize("index", [0, 1], ids=["shapes", "edits"])
def test_a_bias_shows_in_one_order_and_cancels_in_both(index: int, outcomes: list[Outcome]) -> None:
    fair, biased = outcomes[index].learned, outcomes[index].biased
    assert fair.position_gap == pytest.approx(0.0, abs=1e-9)
    assert biased.first_share is not None
    assert biased.first_share.value > 0.5
    assert biased.accuracy.value == fair.accuracy.value


@pytest.mark.parametrize("index", [0, 1], ids=["shapes", "edits"])
def test_shuffled_labels_publish_nothing_and_say_why(index: int, outcomes: list[Outcome]) -> None:
    shuffled = outcomes[index].shuffled
    assert (shuffled.state, shuffled.reason) == (JobState.FAILED, "no-better-than-none")
    assert shuffled.error is not None
    assert shuffled.result is not None  # the evidence
    assert shuffled.result["rubric"] is None


def _commands() -> list[str]:
    """Every command of the example's README, without those that start a server or take everything, comments cut off."""
    blocks = re.findall(r"```bash\n(.*?)```", (FOLDER / "README.md").read_text(), flags=re.DOTALL)
    whole = [block.replace("\\\n", "") for block in blocks]
    lines = [line.split("  #")[0].strip() for block in whole for line in block.splitlines()]
    left_out = ("make ", "arr serve", "examples.learn_rubrics.run")
    return [line for line in lines if line and not any(what in line for what in left_out)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """What `arr serve` starts, on a free port instead of 8080."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, log=folder / "service.log") as running:
        yield running


def test_every_command_of_its_readme_works_as_written_and_learns_the_same_sets(
    tmp_path: Path, service: ServiceProcess, outcomes: list[Outcome]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands = _commands()
    assert len(commands) >= 8
    for command in commands:
        program, *arguments = shlex.split(command)
        finished = subprocess.run(
            [*PROGRAMS[program], *arguments],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"ARR_URL": service.url, "COLUMNS": "200"},
        )
        assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    assert (tmp_path / "runs" / "shapes-learned" / "report.html").exists()
    assert (tmp_path / "runs" / "edits-measured" / "report.json").exists()
    with RewardClient(service.url) as client:
        for outcome in outcomes:
            assert client.get_rubric(outcome.name, 1).content == outcome.content
