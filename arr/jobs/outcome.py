"""How a job ended: read from its result, told on a terminal, written as a report; and what to do when it failed."""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import typer
from pydantic import ValidationError
from rich.text import Text

from arr.console import OUT, fail, note
from arr.jobs.evaluated import print_evaluation
from arr.jobs.learned import print_learned
from reward_client import RewardClient
from shared_schemas.evaluations import EvaluationFailure, EvaluationReport
from shared_schemas.jobs import EVALUATE, LEARN, Job, JobReason, JobState
from shared_schemas.learning import LearnFailure, LearnResult
from shared_schemas.rubrics import RubricVersion

_LOOK_AT_THE_JUDGE = "see whether the judge is there (`arr judge-check`), then ask again"
_UPLOAD_AGAIN = "upload the pairs again (--pairs)"

_AFTER_LEARNING: dict[str, str] = {
    LearnFailure.TOO_FEW_PAIRS: "label more pairs, or give the parts other shares (--param fractions.train=…)",
    LearnFailure.ALL_TIES: "learning needs pairs of which one image is better",
    LearnFailure.TASK_MISMATCH: "leave --task out: the dataset says what it is",
    LearnFailure.SCORES_OUT_OF_RANGE: "leave out min_score and max_score, or give all that people could score in",
    LearnFailure.NOTHING_PROPOSED: "see what the model that writes answers: its log, or another one (ARR_CHAT_URL)",
    LearnFailure.NOTHING_VERIFIED: (
        "the judge does not see what the labels see: try a stronger judge or chat model, or --param max_revisions=10"
    ),
    LearnFailure.NOTHING_SCORED: "see what the judge answers (`arr judge-check`), or --param min_answered_share=…",
    LearnFailure.NOTHING_SELECTED: "look at the labels, or try a stronger judge",
    LearnFailure.NO_BETTER_THAN_NONE: (
        "--report DIR draws what was measured, --publish-anyway publishes it all the same"
    ),
    LearnFailure.TOO_MANY_FAILURES: "see what the judge answers (`arr judge-check`); --param max_failed_share=… allows",
    LearnFailure.JUDGE_UNAVAILABLE: _LOOK_AT_THE_JUDGE,
    LearnFailure.CHAT_UNAVAILABLE: "see whether the model that writes is there (ARR_CHAT_URL), then ask again",
    LearnFailure.DATASET_GONE: _UPLOAD_AGAIN,
}

_AFTER_EVALUATING: dict[str, str] = {
    EvaluationFailure.TOO_FEW_PAIRS: "label more pairs, or measure on more of them (--split, --max-pairs)",
    EvaluationFailure.TASK_MISMATCH: "choose rubric sets and pairs of one task: `arr rubrics list` shows those of sets",
    EvaluationFailure.TOO_MANY_FAILURES: "see what the judge answers (`arr judge-check`)",
    EvaluationFailure.JUDGE_UNAVAILABLE: _LOOK_AT_THE_JUDGE,
    EvaluationFailure.DATASET_GONE: _UPLOAD_AGAIN,
    EvaluationFailure.UNKNOWN_RUBRIC: "`arr rubrics list` shows what there is",
}

_AFTER_ANY: dict[str, str] = {
    JobReason.WORKER_LOST: "look into the log of the worker that was lost, then ask again",
    JobReason.INTERNAL_ERROR: "look into the worker's log, then ask again",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A job that is over, and what is known of its result."""

    job: Job
    learned: LearnResult | None = None
    evaluation: EvaluationReport | None = None
    rubric: RubricVersion | None = None
    """The version that was learned."""


def what_next(kind: str, reason: str | None) -> str | None:
    """What to do about a job of this kind that failed for this reason."""
    of_kind = {LEARN: _AFTER_LEARNING, EVALUATE: _AFTER_EVALUATING}.get(kind, {})
    return (of_kind | _AFTER_ANY).get(reason or "")


def read_outcome(job: Job, client: RewardClient) -> Outcome:
    """The job's result, as far as it is of a kind that is known; the learned version is fetched."""
    try:
        if job.kind == LEARN and job.result is not None:
            learned = LearnResult.model_validate(job.result)
            identity = learned.rubric
            if identity is None or identity.name is None or identity.version is None:
                return Outcome(job=job, learned=learned, evaluation=learned.report)
            rubric = client.get_rubric(identity.name, identity.version)
            return Outcome(job=job, learned=learned, evaluation=learned.report, rubric=rubric)
        if job.kind == EVALUATE and job.result is not None:
            return Outcome(job=job, evaluation=EvaluationReport.model_validate(job.result))
    except ValidationError:
        return Outcome(job=job)  # evidence of another shape, or of another release: shown as it is
    return Outcome(job=job)


def tell(outcome: Outcome, *, report: Path | None, as_json: bool) -> None:
    """Print what came of the job, and write its report where one is wanted."""
    if as_json:
        typer.echo(outcome.job.model_dump_json(indent=2))
    elif outcome.learned is not None:
        print_learned(outcome.learned, outcome.rubric)
        if outcome.learned.report is not None:
            OUT.print()
            print_evaluation(outcome.learned.report)
    elif outcome.evaluation is not None:
        print_evaluation(outcome.evaluation)
    elif outcome.job.result is not None:
        OUT.print_json(data=outcome.job.result)
    if report is not None:
        _write(outcome, report)


def fail_unless_succeeded(job: Job) -> None:
    """End the command with one line unless the job did well."""
    if job.state is not JobState.SUCCEEDED:
        _fail(job)


def _fail(job: Job) -> NoReturn:
    if job.state is JobState.CANCELLED:
        fail(f"job {job.id} was cancelled")
    detail = f": {job.error.detail.rstrip('.')}" if job.error else ""
    advice = what_next(job.kind, job.reason)
    fail(f"job {job.id} failed, {job.reason}{detail}" + (f". Next: {advice}" if advice else ""))


def _write(outcome: Outcome, folder: Path) -> None:
    from arr.reports.evaluation import write_evaluation_report
    from arr.reports.learning import write_learning_report

    number = outcome.job.id
    try:
        if outcome.learned is not None:
            path = write_learning_report(folder, outcome.job, outcome.learned, rubric=outcome.rubric)
        elif outcome.evaluation is not None:
            path = write_evaluation_report(folder, outcome.evaluation)
        else:
            note(f"job {number} has nothing to report")
            return
    except OSError as error:
        why = f"the report cannot be written to {folder}: {error.strerror}"
        fail(f"{why}; `arr jobs show {number} --report DIR` writes it elsewhere")
    note(f"report: {path}")


def about(job: Job) -> Text:
    """What the job is about, in a few words: the rubric set and the dataset."""
    names = job.parameters.get("name"), *(job.parameters.get("rubrics") or ())
    words = [str(name) for name in names if name is not None]
    if (dataset := job.parameters.get("dataset")) is not None:
        words.append(f"dataset {dataset}")
    return Text(", ".join(words))
