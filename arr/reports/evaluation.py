"""The report of an evaluation: every rubric's figures beside those of the judge without rubrics, with plots."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from markupsafe import Markup

from arr.reports.drawing import as_svg, house_style
from arr.reports.evaluation_plots import orders, reliability
from arr.reports.figures import (
    FigureRow,
    best_rubric,
    called,
    cautions,
    figure_rows,
    num_versions,
    side_by_side,
    without_rubrics,
)
from arr.reports.numbers import share
from arr.reports.page import render, write_report
from shared_schemas.evaluations import EvaluationReport, RubricReport

_REDUNDANT = 0.8
"""Correlation above which two criteria are said to say the same."""

_RUBRICS_PER_TABLE = 5
"""Beside the judge without rubrics; more make a table of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureTable:
    """Figures of some rubrics, side by side."""

    rubrics: tuple[RubricReport, ...]
    rows: tuple[FigureRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Redundancy:
    """Two criteria that say the same, by their numbers in the set, counted from 1."""

    first: int
    second: int
    correlation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CriteriaSection:
    """The criteria of one rubric."""

    rubric: RubricReport
    redundant: tuple[Redundancy, ...]
    """The most redundant first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationView:
    """What `evaluation_part.html.j2` shows."""

    report: EvaluationReport
    best: RubricReport | None
    none: RubricReport | None
    num_versions: int
    cautions: tuple[str, ...]
    tables: tuple[FigureTable, ...]
    orders: Markup
    has_orders: bool
    """Whether anything was judged in orders at all; pointwise, it is not."""
    reliability: Markup | None
    """None for judges without log-probabilities."""
    criteria: tuple[CriteriaSection, ...]
    """Of the rubrics whose criteria were asked alone."""


def evaluation_view(report: EvaluationReport) -> EvaluationView:
    """Everything that is drawn or put together for the page."""
    calibrated = [rubric for rubric in report.rubrics if rubric.bins]
    with house_style():
        return EvaluationView(
            report=report,
            best=best_rubric(report),
            none=without_rubrics(report),
            num_versions=num_versions(report),
            cautions=tuple(cautions(report)),
            tables=tuple(
                FigureTable(rubrics=shown, rows=figure_rows(shown))
                for shown in side_by_side(report.rubrics, num_versions=_RUBRICS_PER_TABLE)
            ),
            orders=as_svg(orders(report.rubrics), alt=_accuracies_in_words(report.rubrics)),
            has_orders=any(rubric.first_share is not None for rubric in report.rubrics),
            reliability=as_svg(reliability(calibrated), alt="Confidence against accuracy") if calibrated else None,
            criteria=tuple(
                CriteriaSection(rubric=rubric, redundant=redundant_pairs(rubric.redundancy))
                for rubric in report.rubrics
                if rubric.criteria
            ),
        )


def evaluation_page(report: EvaluationReport) -> str:
    """The report as one HTML page that needs nothing else."""
    return render("evaluation.html.j2", view=evaluation_view(report))


def write_evaluation_report(folder: Path, report: EvaluationReport) -> Path:
    """Write `report.html` and `report.json` into `folder`; returns the page's path. Raises `OSError`."""
    return write_report(folder, html=evaluation_page(report), json=report.model_dump_json(indent=2))


def redundant_pairs(correlations: Sequence[Sequence[float]]) -> tuple[Redundancy, ...]:
    """Criteria that nearly say the same, by their `correlations` [n × n], most redundant first."""
    pairs = (
        Redundancy(first=first + 1, second=second + 1, correlation=correlations[first][second])
        for first, second in combinations(range(len(correlations)), 2)
    )
    redundant = (pair for pair in pairs if pair.correlation >= _REDUNDANT)
    return tuple(sorted(redundant, key=lambda pair: pair.correlation, reverse=True))


def _accuracies_in_words(rubrics: Sequence[RubricReport]) -> str:
    return "Accuracy: " + ", ".join(f"{called(each)} {share(each.accuracy.value)}" for each in rubrics)
