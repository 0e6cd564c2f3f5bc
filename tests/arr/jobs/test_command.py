"""`arr jobs …` against a service whose jobs are made up, and Ctrl-C in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from reward_client import RewardClient
from shared_schemas.jobs import Job, JobState
from shared_schemas.learning import ArrParameters, LearnRequest
from tests.arr.made_up_kinds import GOES_WELL, NEVER_ENDS, NO_BETTER


@pytest.fixture
def jobs(arr: Callable[..., Result], job_service: str) -> Callable[..., Result]:
    return lambda *arguments: arr("jobs", *arguments, "--url", job_service)


@pytest.fixture
def begin(job_service: str, labelled_pairs: Path, red_circle: Path, blue_square: Path) -> Callable[[int], Job]:
    """`begin(seed)`: a job that goes as the seed says."""

    def ask(seed: int) -> Job:
        with RewardClient(job_service) as client:
            row = json.loads(labelled_pairs.read_text())
            dataset = client.upload_dataset([row], {path.name: path for path in (red_circle, blue_square)})
            request = LearnRequest(dataset=dataset.id, seed=seed, parameters=ArrParameters(task_description="Balance"))
            return client.learn("shapes", request)

    return ask


def test_jobs_are_listed_newest_first(jobs: Callable[..., Result], begin: Callable[[int], Job]) -> None:
    assert "`arr learn`" in jobs("list").stdout
    begin(GOES_WELL)
    jobs("follow", 1)
    begin(NO_BETTER)
    jobs("follow", 2)
    listed = jobs("list").stdout.splitlines()
    assert [line.split()[:2] for line in listed if line[0].isdigit()] == [["2", "learn"], ["1", "learn"]]
    assert [job["id"] for job in json.loads(jobs("list", "--json").stdout)] == [2, 1]
    assert [job["id"] for job in json.loads(jobs("list", "--state", "failed", "--json").stdout)] == [2]
    assert json.loads(jobs("list", "--kind", "evaluate", "--json").stdout) == []


def test_following_a_job_tells_what_came_of_it(jobs: Callable[..., Result], begin: Callable[[int], Job]) -> None:
    job = begin(GOES_WELL)
    result = jobs("follow", job.id)
    assert result.exit_code == 0
    assert "shapes@1" in result.stdout
    assert "It holds together." in result.stdout
    failed = jobs("follow", begin(NO_BETTER).id)
    assert failed.exit_code == 1
    assert "no-better-than-none" in failed.stderr


def test_a_finished_job_can_be_shown_and_reported_on_later(
    jobs: Callable[..., Result], begin: Callable[[int], Job], tmp_path: Path
) -> None:
    job = begin(NO_BETTER)
    jobs("follow", job.id)
    shown = jobs("show", job.id, "--report", tmp_path / "report")
    assert shown.exit_code == 0  # showing it did well
    assert f"job {job.id}: learn shapes, dataset 1, failed" in shown.stdout
    assert "no-better-than-none: Right in 60 % and 61 % of 40 pairs." in shown.stderr
    assert (tmp_path / "report" / "report.html").exists()
    assert Job.model_validate_json(jobs("show", job.id, "--json").stdout).state is JobState.FAILED


def test_a_cancelled_job_is_over_and_following_it_says_so(
    jobs: Callable[..., Result], begin: Callable[[int], Job]
) -> None:
    job = begin(NEVER_ENDS)
    assert jobs("cancel", job.id).exit_code == 0
    result = jobs("follow", job.id)
    assert result.exit_code == 1
    assert f"job {job.id} was cancelled" in result.stderr
    assert jobs("cancel", job.id).stdout == f"job {job.id} is cancelled\n"


def test_a_job_that_there_is_not_is_one_line(jobs: Callable[..., Result]) -> None:
    for command in ("show", "follow", "cancel"):
        result = jobs(command, 99)
        assert result.exit_code == 1
        assert "unknown-job: there is no job 99; `arr jobs list` shows what there is" in result.stderr
        assert result.stderr.count("\n") == 1


def test_ctrl_c_ends_the_watching_and_not_the_job(begin: Callable[[int], Job], job_service: str) -> None:
    job = begin(NEVER_ENDS)
    command = [sys.executable, "-m", "arr.main", "jobs", "follow", str(job.id), "--url", job_service]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seen = [next(line for line in process.stderr if line.startswith("proposing: 3 of 3"))]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, len(seen)) == (130, "", 1)
    assert f"job {job.id} goes on: `arr jobs follow {job.id} --url {job_service}` watches it" in errors
    assert "Traceback" not in errors
    with RewardClient(job_service) as client:
        assert client.job(job.id).state is JobState.RUNNING
        client.cancel_job(job.id)
