"""An evaluation as people read it on a terminal."""

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from arr.console import OUT
from arr.reports.figures import called, cautions, figure_rows, side_by_side
from arr.reports.numbers import share, share_with_interval
from shared_schemas.evaluations import Anchor, Estimate, EvaluationReport, RubricReport

_COLUMN = 21
"""Characters of `100.0 % [100.0–100.0]`, the widest figure."""
_LABELS = 24
_GAP = 2

_SHOWN = {
    *("accuracy", "points over no rubrics", "p against no rubrics", "better one shown first"),
    *("better one shown second", "gap between the two", "names the first image"),
    *("orders agree", "ties", "κ with the labels", "κ between two runs", "calibration error", "talked over"),
    *("pairs", "learned from", "failed", "judge calls", "calls a pair", "time"),
}
"""Figures that are worth a line on a terminal; the report has all."""


def print_evaluation(report: EvaluationReport) -> None:
    """What was measured, the figures of every rubric side by side, then published figures to read them beside."""
    rows = f"{report.num_rows:,} rows with {report.num_prompts:,} prompts and {report.num_ties:,} ties"
    OUT.print(
        Text(f"dataset {report.dataset} ({report.task}, split {report.split}): {rows}, judged by {report.judge.model}"),
        soft_wrap=True,
    )
    num_versions = max(1, (OUT.width - _LABELS) // (_COLUMN + _GAP) - 1)
    for shown in side_by_side(report.rubrics, num_versions=num_versions):
        OUT.print(_figures(shown))
    for caution in cautions(report):
        OUT.print(Text(f"\n{caution}"))
    for rubric in report.rubrics:
        for line in _criteria(rubric):
            OUT.print(line, soft_wrap=True)
    if report.anchors:
        OUT.print()
        OUT.print(_anchors(report.anchors))


def _figures(rubrics: Sequence[RubricReport]) -> Table:
    table = Table("", box=None, padding=(0, _GAP, 0, 0))
    for rubric in rubrics:
        table.add_column(Text(called(rubric), overflow="fold"))
    for row in figure_rows(rubrics):
        if row.label in _SHOWN:
            table.add_row(row.label, *(str(figure) for figure in row.figures))
    return table


def _criteria(rubric: RubricReport) -> Iterator[Text]:
    """The criteria, those that tell most first."""
    if rubric.criteria:
        yield Text(f"\n{called(rubric)}: how well each criterion alone tells better from worse (AUC)", "bold")
    for criterion in sorted(rubric.criteria, key=lambda each: -each.auc.value):
        auc = f"{share_with_interval(criterion.auc):<{_COLUMN}}"
        yield Text(f"  {auc}  {criterion.theme}").append(_remark(criterion.auc), style="dim")


def _remark(auc: Estimate) -> str:
    if auc.high < 0.5:
        return "  prefers the worse image"
    return "  no better than chance" if auc.low <= 0.5 else ""


def _anchors(anchors: Sequence[Anchor]) -> Table:
    title = "Published figures, on the pairs named"
    columns = ("judge", "pairs", "alone", "with rubrics", "source")
    table = Table(*columns, title=title, title_justify="left", box=None, padding=(0, _GAP, 0, 0))
    for anchor in anchors:
        names = (Text(anchor.judge), Text(anchor.benchmark))
        table.add_row(*names, share(anchor.alone), share(anchor.with_rubrics), Text(anchor.source))
    return table
