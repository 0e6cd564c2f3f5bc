"""`arr evaluate` against a service whose jobs are made up."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from reward_client import RewardClient
from shared_schemas.evaluations import EvaluationReport
from shared_schemas.jobs import Job
from shared_schemas.rubrics import RubricContent, Task
from tests.arr.made_up_kinds import FAILS_EARLY

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def evaluate(arr: Callable[..., Result], job_service: str) -> Callable[..., Result]:
    """With the rubric sets `shapes` and `colours` there."""
    with RewardClient(job_service) as client:
        for name in ("shapes", "colours"):
            client.publish_rubric(name, RubricContent(task=Task.T2I, task_description=name))
    return lambda *arguments: arr("evaluate", *arguments, "--url", job_service)


def test_the_figures_of_every_rubric_stand_beside_those_without(
    evaluate: Callable[..., Result], labelled_pairs: Path
) -> None:
    result = evaluate("shapes", "colours@1", "--pairs", labelled_pairs)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    heads = [line.split() for line in lines if "shapes@none" in line]
    assert heads == [["shapes@1", "shapes@none"], ["colours@1", "shapes@none"]]  # the test's terminal is narrow
    assert all(len(line) <= 80 for line in lines[1:])
    assert "78.0 % [72.0–84.0]" in result.stdout
    assert "+17.0 [+8.0 to +25.0]" in result.stdout
    assert "Each p-value is of one version by itself." in result.stdout
    assert "gap between the two" in result.stdout
    assert "judge-off-topic" in result.stdout
    assert "Theme number 2 of the set" in result.stdout
    assert "arXiv 2605.08354" in result.stdout


def test_what_was_asked_for_is_what_the_job_gets(evaluate: Callable[..., Result], labelled_pairs: Path) -> None:
    options = (
        "--split",
        "test",
        "--fractions",
        "0.5,0.25,0.25",
        "--seed",
        5,
        "--max-pairs",
        40,
        "--agreement",
        "--no-injection",
    )
    result = evaluate("shapes", "--pairs", labelled_pairs, *options, "--no-per-criterion", "--calibrate", "--json")
    job = Job.model_validate_json(result.stdout)
    asked = job.parameters
    assert (job.kind, job.seed, asked["dataset"], asked["split"], asked["max_pairs"]) == ("evaluate", 5, 1, "test", 40)
    assert asked["fractions"] == {"train": 0.5, "validation": 0.25, "test": 0.25}
    flags = [asked[name] for name in ("agreement", "injection", "per_criterion", "calibrate")]
    assert flags == [True, False, False, True]
    assert EvaluationReport.model_validate(job.result).rubrics[0].rubric.reference == "shapes@1"


def test_the_report_is_written(evaluate: Callable[..., Result], labelled_pairs: Path, tmp_path: Path) -> None:
    evaluate("shapes", "--pairs", labelled_pairs, "--report", tmp_path / "measured")
    report = EvaluationReport.model_validate_json((tmp_path / "measured" / "report.json").read_bytes())
    assert report.dataset == 1
    assert "How well the judge agrees with people" in (tmp_path / "measured" / "report.html").read_text()


def test_an_evaluation_that_failed_ends_with_one_line(evaluate: Callable[..., Result], labelled_pairs: Path) -> None:
    result = evaluate("shapes", "--pairs", labelled_pairs, "--seed", FAILS_EARLY)
    assert result.exit_code == 1
    assert "failed, judge-unavailable: The judge did not answer for ten minutes. Next: " in result.stderr


def test_an_unknown_rubric_is_told_before_a_job_begins(evaluate: Callable[..., Result], labelled_pairs: Path) -> None:
    result = evaluate("nobody-knows", "--pairs", labelled_pairs)
    assert result.exit_code == 1
    assert "unknown-rubric" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shapes",), "--pairs PATH uploads them"),
        (("shapes", "--dataset", 1, "--fractions", "0.5,0.5"), "'0.5,0.5' are not three shares"),
        (("shapes", "--dataset", 1, "--fractions", "1,1,x"), "fractions.train: Input should be less than 1"),
        (("Two Words", "--dataset", 1), "is not a rubric reference"),
        ((*(f"set-{number}" for number in range(17)), "--dataset", 1), "at most 16 items"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_sent(
    arr: Callable[..., Result], arguments: tuple[object, ...], message: str
) -> None:
    result = arr("evaluate", *arguments, "--url", NOWHERE)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
