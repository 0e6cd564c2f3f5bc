"""What became of the rows: against what was expected, against what was promised; as tables and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import new_table, table_of_targets
from benchmarks.targets import Target
from benchmarks.training_rows import PREDICTED_SPEED_UP, Row, Way

_WIDTH = 185
"""Columns that the table needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingReport:
    """A whole run."""

    machine: str
    judge: str
    """In words."""
    rows: tuple[Row, ...]
    """Of one judge; the first is the reference."""
    promised: Row
    """With a judge whose answers take half of a micro-batch's sampling."""
    promised_judge_ms: float
    """Of a call."""
    seconds: float

    @property
    def targets(self) -> list[Target]:
        """What was promised of overlap."""
        name = f"waiting, {self.promised.shape.micro_batches} micro-batches, answers in half of one"
        measured = 100 * self.promised.wait_fraction
        return [Target(name=name, wanted=5, measured=measured, unit=" % of the step", at_most=True)]

    def speed_up(self, row: Row) -> float:
        """In pairs a second, against the reference."""
        return row.pairs_per_second / self.rows[0].pairs_per_second

    def as_json(self) -> dict[str, Any]:
        """Every number."""
        return {
            "machine": self.machine,
            "seconds": self.seconds,
            "judge": self.judge,
            "promised_judge_ms": self.promised_judge_ms,
            "rows": [self._row_as_json(row) for row in (*self.rows, self.promised)],
            "targets": [{**asdict(target), "is_met": target.is_met} for target in self.targets],
        }

    def _row_as_json(self, row: Row) -> dict[str, Any]:
        return {
            **asdict(row),
            "steps_per_second": row.steps_per_second,
            "pairs_per_second": row.pairs_per_second,
            "speed_up": self.speed_up(row),
            "predicted_speed_up": PREDICTED_SPEED_UP.get(row.way),
            "median_seconds": asdict(row.seconds),
            "answer_seconds": row.answer_seconds,
            "judge_wait_fraction": row.wait_fraction,
            "predicted_judge_wait_fraction": row.predicted_wait_fraction,
        }


def show(report: TrainingReport) -> None:
    """Print everything."""
    console = Console(width=max(Console().width, _WIDTH))
    console.print(report.machine, highlight=False)
    console.print(report.judge, highlight=False)
    console.print(_table(report, report.rows))
    side = report.promised.shape.resolution
    console.print(f"\n{side}×{side} pixels, judge of {report.promised_judge_ms:.0f} ms a call", highlight=False)
    console.print(_table(report, [report.promised]))
    console.print(table_of_targets(report.targets))


def _table(report: TrainingReport, rows: Sequence[Row]) -> Table:
    table = new_table(
        *("way", "pairs/step", "requests", "steps/s", "pairs/s", "× (a)", "predicted"),
        *("sample s", "decode s", "judge wait s", "update s", "answer s", "waiting", "predicted", "peak MiB"),
    )
    table.title = "Medians of a step; answer: mean of one request; waiting: of all steps; predicted from answer"
    for row in rows:
        seconds, predicted = row.seconds, row.predicted_wait_fraction
        expected = PREDICTED_SPEED_UP.get(row.way)
        asked = row.shape.groups if row.way is Way.REFERENCE else row.shape.micro_batches
        table.add_row(
            row.way,
            str(row.shape.groups),
            str(asked),
            f"{row.steps_per_second:.3f}",
            f"{row.pairs_per_second:.2f}",
            f"{report.speed_up(row):.1f}",
            "–" if expected is None else f"{expected:.1f}",
            f"{seconds.sample:.3f}",
            f"{seconds.decode:.3f}",
            f"{seconds.judge_wait:.3f}",
            f"{seconds.update:.3f}",
            f"{row.answer_seconds:.3f}",
            f"{100 * row.wait_fraction:.1f} %",
            "–" if predicted is None else f"{100 * predicted:.1f} %",
            f"{row.memory.peak:.0f}",
        )
    return table
