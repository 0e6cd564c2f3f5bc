"""A job under way, drawn."""

import io
import re

import pytest
from rich.console import Console

from arr.jobs.progress import JobProgress
from shared_schemas.jobs import Job, JobStage
from tests.arr.made_up_results import finished_job


def job(*stages: JobStage, state: str = "running", attempt: int = 1) -> Job:
    return finished_job(None, state=state, attempt=attempt, stages=stages, finished=None)


def stage(name: str, done: int, total: int) -> JobStage:
    return JobStage(name=name, done=done, total=total, judge_calls=2 * done, tokens=1000 * done, seconds=1.5)


def drawn(*jobs: Job, terminal: bool = True, width: int = 120) -> str:
    output = io.StringIO()
    with JobProgress(Console(file=output, width=width, force_terminal=terminal, color_system=None)) as progress:
        for each in jobs:
            progress.show(each)
    return output.getvalue()


def test_a_terminal_sees_a_bar_per_stage_with_its_cost() -> None:
    output = drawn(job(stage("proposing", 3, 3), stage("verifying", 40, 100)))
    last = output[output.rindex("proposing") :]
    assert "3/3" in last
    assert "40/100" in last
    assert "80 calls, 40,000 tokens" in last


def test_stages_with_long_names_keep_their_bars_in_eighty_columns_and_their_ends_apart() -> None:
    names = [f"validation: judge {'flux-kontext-edits-' * 3}{end}" for end in ("a@12", "a@none")]
    output = drawn(job(*(stage(name, 40, 40) for name in names)), width=80)
    bars = re.findall(r"validation: jud…\S*(a@\S+) ━{6,} 40/40 0:00:00 80 calls, 40,000 tokens\n", output)
    assert bars[-2:] == ["a@12", "a@none"]


def test_elsewhere_each_stage_is_a_line_once_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    under_way = job(stage("proposing", 3, 3), stage("verifying", 40, 100))
    drawn(job(stage("proposing", 1, 3)), under_way, under_way, terminal=False)
    assert capsys.readouterr().err == "proposing: 3 of 3, 6 calls, 3,000 tokens, 1.5 s\n"


def test_a_stage_that_the_end_of_the_job_cut_short_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    drawn(job(stage("proposing", 1, 3), state="failed"), terminal=False)
    assert "proposing: 1 of 3" in capsys.readouterr().err


def test_a_job_without_a_worker_says_what_it_waits_for_once() -> None:
    waiting = job(state="queued", attempt=0)
    assert drawn(waiting, waiting).count("job 12 waits for a worker") == 1


def test_a_job_that_is_begun_again_starts_its_bars_anew() -> None:
    output = drawn(job(stage("proposing", 3, 3)), job(stage("proposing", 1, 3), attempt=2))
    assert "attempt 2: begun again by another worker" in output
    assert "1/3" in output[output.rindex("proposing") :]
