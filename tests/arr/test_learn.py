"""`arr learn` against a service whose jobs are made up: uploading, following, telling, failing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from arr.demo.labelled_pairs import make_labelled_drawings
from reward_client import RewardClient
from shared_schemas.evaluations import EvaluationReport
from shared_schemas.jobs import Job, JobState
from shared_schemas.learning import ArrParameters, LearnResult
from tests.arr.made_up_kinds import FAILS_EARLY, NEVER_ENDS, NO_BETTER

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def learn(arr: Callable[..., Result], job_service: str) -> Callable[..., Result]:
    return lambda *arguments: arr("learn", *arguments, "--url", job_service)


def test_pairs_are_uploaded_learned_from_and_what_came_of_it_is_told(
    learn: Callable[..., Result], labelled_pairs: Path
) -> None:
    result = learn("shapes", "--pairs", labelled_pairs, "--param", "task_description=Balance")
    assert result.exit_code == 0, result.output
    assert "dataset 1: 1 rows, 2 images, task t2i" in result.stderr
    assert "proposing: 3 of 3, 3 calls, 1,200 tokens" in result.stderr
    for part in (
        "shapes@1",
        "78.0 % [72.0–84.0] of 212 held-out pairs",
        "without rubrics",
        "61.0 %",
        "yes (p = 0.0004, ",
    ):
        assert part in result.stdout
    assert "36 rows: 28 verified at once, 6 after revision, 2 discarded" in result.stdout
    assert "Balance\n  - It holds together." in result.stdout
    assert "1,315,300" in result.stdout  # tokens of all stages


def test_a_dataset_that_the_service_has_is_learned_from_with_the_parameters_given(
    learn: Callable[..., Result], labelled_pairs: Path, job_service: str, tmp_path: Path
) -> None:
    learn("shapes", "--pairs", labelled_pairs)
    file = tmp_path / "parameters.toml"
    file.write_text("max_criteria = 3\nother_pairs = 1\n")
    options = ("--parameters", file, "--param", "other_pairs=0", "--alias", "production", "--publish-anyway")
    result = learn("shapes", "--dataset", 1, *options, "--seed", NO_BETTER, "--json")
    job = Job.model_validate_json(result.stdout)
    assert job.parameters["parameters"] == ArrParameters(max_criteria=3, other_pairs=0).model_dump(mode="json")
    assert (job.parameters["alias"], job.parameters["publish_anyway"], job.seed) == ("production", True, NO_BETTER)
    assert LearnResult.model_validate(job.result).rubric is not None


def test_a_job_that_failed_shows_its_evidence_and_one_line_with_the_next_step(
    learn: Callable[..., Result], labelled_pairs: Path, tmp_path: Path
) -> None:
    result = learn("shapes", "--pairs", labelled_pairs, "--seed", NO_BETTER, "--report", tmp_path / "report")
    assert result.exit_code == 1
    assert "no (p = 0.4, " in result.stdout
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: job 1 failed, no-better-than-none: Right in 60 % and 61 % of 40 pairs. Next: ")
    assert "--publish-anyway" in last
    assert "nothing was published" in (tmp_path / "report" / "report.html").read_text()


def test_a_job_that_failed_without_evidence_has_nothing_to_report(
    learn: Callable[..., Result], labelled_pairs: Path, tmp_path: Path
) -> None:
    result = learn("shapes", "--pairs", labelled_pairs, "--seed", FAILS_EARLY, "--report", tmp_path / "report")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "job 1 has nothing to report" in result.stderr
    assert "`arr judge-check`" in result.stderr.splitlines()[-1]


def test_the_report_of_a_learned_set_shows_it(
    learn: Callable[..., Result], labelled_pairs: Path, tmp_path: Path
) -> None:
    result = learn("shapes", "--pairs", labelled_pairs, "--report", tmp_path / "report")
    assert f"report: {tmp_path / 'report' / 'report.html'}" in result.stderr
    assert "It holds together." in (tmp_path / "report" / "report.html").read_text()
    assert json.loads((tmp_path / "report" / "report.json").read_text())["state"] == "succeeded"


def test_a_report_that_could_not_be_written_ends_the_command_before_anything_is_sent(
    arr: Callable[..., Result], labelled_pairs: Path
) -> None:
    folder = labelled_pairs / "report"  # below a file
    for command in ("learn", "evaluate"):
        result = arr(command, "shapes", "--dataset", 1, "--report", folder, "--url", NOWHERE)
        assert result.exit_code == 2
        assert result.stderr == f"error: --report: the folder {folder} cannot be made: Not a directory\n"


def test_a_report_that_cannot_be_written_in_the_end_costs_nothing_but_the_report(
    learn: Callable[..., Result], labelled_pairs: Path, tmp_path: Path
) -> None:
    (tmp_path / "report" / "report.html").mkdir(parents=True)
    result = learn("shapes", "--pairs", labelled_pairs, "--report", tmp_path / "report")
    assert result.exit_code == 1
    assert "shapes@1" in result.stdout
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"error: the report cannot be written to {tmp_path / 'report'}: ")
    assert last.endswith("; `arr jobs show 1 --report DIR` writes it elsewhere")


def test_without_waiting_the_job_is_left_to_itself(
    learn: Callable[..., Result], labelled_pairs: Path, job_service: str
) -> None:
    result = learn("shapes", "--pairs", labelled_pairs, "--seed", NEVER_ENDS, "--no-wait")
    assert result.exit_code == 0
    assert result.stdout.startswith("job 1 is ")
    assert f"`arr jobs follow 1 --url {job_service}`" in result.stderr
    with RewardClient(job_service) as client:
        assert client.cancel_job(1).state in {JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shapes",), "--pairs PATH uploads them, --dataset ID names a dataset"),
        (("shapes", "--dataset", 1, "--pairs", "."), "--pairs PATH uploads them"),
        (("shapes", "--dataset", 1, "--images", "."), "--images belongs to --pairs"),
        (("Two Words", "--dataset", 1), "'Two Words' is no name for a rubric set"),
        (("shapes", "--dataset", 1, "--param", "max_themse=3"), "did you mean max_themes?"),
        (("shapes", "--dataset", 1, "--alias", "latest"), "--alias: 'latest' is reserved"),
        (("shapes", "--dataset", 1, "--seed", 2**31), "--seed: "),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_sent(
    arr: Callable[..., Result], arguments: tuple[object, ...], message: str
) -> None:
    result = arr("learn", *arguments, "--url", NOWHERE)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_folder_of_several_splits_asks_which(arr: Callable[..., Result], labelled_pairs: Path) -> None:
    (labelled_pairs.parent / "other.jsonl").write_text(labelled_pairs.read_text())
    result = arr("learn", "shapes", "--pairs", labelled_pairs.parent, "--url", NOWHERE)
    assert result.exit_code == 2
    assert "has the splits labelled, other: name the file of one (--pairs)" in result.stderr


def test_what_the_service_refuses_is_told_in_its_words(learn: Callable[..., Result]) -> None:
    result = learn("shapes", "--dataset", 99)
    assert result.exit_code == 1
    assert "unknown-dataset: there is no dataset 99; `arr pairs import` uploads pairs" in result.stderr


def test_help_lists_every_parameter(arr: Callable[..., Result]) -> None:
    output = arr("learn", "--help").output
    assert all(name in output for name in ArrParameters.model_fields if name != "fractions")
    assert "fractions.train" in output
    assert "[max_epochs]" in output


def test_a_service_learns_from_drawings_measures_and_reports(
    arr: Callable[..., Result], service_url: str, tmp_path: Path
) -> None:
    drawings = make_labelled_drawings(60, seed=0)
    for name, png in drawings.images.items():
        (tmp_path / name).write_bytes(png)
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(f"{json.dumps(row)}\n" for row in drawings.rows))
    report, shares = tmp_path / "report", ("--param", "fractions.train=0.4", "--param", "fractions.test=0.4")
    learned = arr(
        "learn", "cli-learn", "--pairs", pairs, *shares, "--seed", 1, "--report", report, "--url", service_url
    )
    assert learned.exit_code == 0, learned.output
    assert "cli-learn@1, learned from labelled pairs" in (report / "report.html").read_text()
    same_rows = ("--split", "test", "--fractions", "0.4,0.2,0.4", "--seed", 1)
    again = arr("evaluate", "cli-learn@1", "--pairs", pairs, *same_rows, "--json", "--url", service_url)
    assert again.exit_code == 0, again.output
    measured = EvaluationReport.model_validate(Job.model_validate_json(again.stdout).result)
    told = LearnResult.model_validate(Job.model_validate_json((report / "report.json").read_bytes()).result)
    assert told.report is not None
    assert [each.accuracy for each in measured.rubrics] == [each.accuracy for each in told.report.rubrics]
