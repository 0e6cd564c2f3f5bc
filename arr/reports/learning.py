"""The report of learning: the rubric set as people read it, what became of proposals, what it took, how it measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arr.reports.evaluation import evaluation_view
from arr.reports.learning_weights import weights_view
from arr.reports.page import render, write_report
from shared_schemas.autorubric import AutoRubricParameters
from shared_schemas.jobs import Job
from shared_schemas.learning import LearnResult
from shared_schemas.rubrics import RubricVersion


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A part of a whole, as a piece of a bar."""

    label: str
    count: int
    colour: str
    """A variable of the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRow:
    """What one stage took."""

    name: str
    judge_calls: int
    tokens: int
    seconds: float
    share: float
    """Of the time of all stages, 0 to 1."""


def learning_page(job: Job, result: LearnResult, *, rubric: RubricVersion | None) -> str:
    """The report as one HTML page that needs nothing else; `rubric` is the version that was learned, if any."""
    return render(
        "learning.html.j2",
        job=job,
        result=result,
        rubric=rubric,
        name=str(job.parameters.get("name", "")),
        proposals=tuple(share for share in _proposals(result) if share.count),
        stages=tuple(_stages(result)),
        parameters=tuple(_flat(job.parameters)),
        view=None if result.report is None else evaluation_view(result.report),
        weights=None if result.sparse is None else weights_view(result.sparse, _weighing_parameters(job)),
    )


def write_learning_report(folder: Path, job: Job, result: LearnResult, *, rubric: RubricVersion | None) -> Path:
    """Write `report.html` and, with the whole job, `report.json` into `folder`; returns the page's path.

    Raises `OSError`.
    """
    return write_report(folder, html=learning_page(job, result, rubric=rubric), json=job.model_dump_json(indent=2))


def _proposals(result: LearnResult) -> Iterator[Share]:
    proposals = result.proposals
    yield Share(label="verified as proposed", count=proposals.verified_at_once, colour="accent")
    yield Share(label="verified after revision", count=proposals.verified_after_revision, colour="second")
    yield Share(label="discarded", count=proposals.discarded, colour="muted")


def _stages(result: LearnResult) -> Iterator[StageRow]:
    whole = sum(stage.seconds for stage in result.stages) or 1.0
    for stage in result.stages:
        yield StageRow(
            name=stage.name,
            judge_calls=stage.judge_calls,
            tokens=stage.tokens,
            seconds=stage.seconds,
            share=stage.seconds / whole,
        )


def _weighing_parameters(job: Job) -> AutoRubricParameters:
    return AutoRubricParameters.model_validate(job.parameters.get("parameters", {}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`parameters.max_criteria` → `10`; what is null is left out."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None and value != "":
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else str(value)
