"""What a run of the benchmark found, as tables and as JSON."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.fairness import Fairness
from benchmarks.measures import Latency, Split
from benchmarks.overload import Overload
from benchmarks.profile_report import Profile
from benchmarks.repetition import Repetition
from benchmarks.rows import Row
from benchmarks.targets import (
    Target,
    targets_of_fairness,
    targets_of_overload,
    targets_of_repetition,
    targets_of_rows,
)

_BUSY_LOAD = 0.5
"""Load per core before the start above which others were measured too."""

MIN_WIDTH = 150
"""Columns that the widest table needs; narrower, it could not be read at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeReport:
    """All that was measured on one judge."""

    judge: str
    """In words."""
    pictures: str
    """In words."""
    rows: list[Row] = field(default_factory=list)
    fairness: list[Fairness] = field(default_factory=list)
    repetition: Repetition | None = None
    overload: Overload | None = None
    profile: Profile | None = None

    @property
    def targets(self) -> list[Target]:
        """All that can be told from it."""
        found = targets_of_rows(self.rows) if self.rows else []
        found += targets_of_fairness(self.fairness)
        found += targets_of_repetition(self.repetition) if self.repetition else []
        return found + (targets_of_overload(self.overload) if self.overload else [])


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A whole run."""

    machine: str
    judges: list[JudgeReport]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Every number, with the rates and targets worked out."""
        return {
            "machine": self.machine,
            "seconds": self.seconds,
            "judges": [
                {
                    **asdict(judge),
                    "rows": [
                        {**asdict(row), "rate": row.rate, "calls_per_pair": row.calls_per_pair} for row in judge.rows
                    ],
                    "targets": [{**asdict(target), "is_met": target.is_met} for target in judge.targets],
                }
                for judge in self.judges
            ],
        }


def machine_in_words() -> str:
    """Cores, processor, Python, and whether somebody else is at work."""
    load = os.getloadavg()[0]
    num_cores = len(os.sched_getaffinity(0))
    shared = f"; others at work, load {load:.1f} before the start" if load > _BUSY_LOAD * num_cores else ""
    return f"{num_cores} cores ({_processor()}), {platform.system()}, Python {platform.python_version()}{shared}"


def show(report: Report) -> None:
    """Print everything."""
    console = Console(width=max(Console().width, MIN_WIDTH))
    console.print(report.machine, highlight=False)
    for judge in report.judges:
        console.print(f"\n[bold]{judge.judge}[/bold]\n{judge.pictures}", highlight=False)
        for table in _tables(judge):
            console.print(table)


def _tables(judge: JudgeReport) -> Iterator[Table]:
    if judge.rows:
        yield _table_of_rows(judge.rows)
    if judge.profile:
        yield _table_of_profile(judge.profile)
    if judge.overload:
        yield _table_of_overload(judge.overload)
    if judge.fairness:
        yield _table_of_fairness(judge.fairness)
    if judge.targets:
        yield table_of_targets(judge.targets)


def _table_of_rows(rows: Sequence[Row]) -> Table:
    table = new_table(
        "way", "clients", "pairs/s", "calls/pair", "p50", "p99", *Split.__slots__, "CPU: service", "judge", "clients"
    )
    table.title = "Milliseconds of a request, and medians of its parts; CPU ms per pair of each process"
    for row in rows:
        latency, split = row.latency, row.split
        table.add_row(
            row.way,
            str(row.num_clients),
            f"{row.rate:.1f}",
            f"{row.calls_per_pair:.2f}",
            *(["–"] * 2 if latency is None else [f"{latency.p50:.0f}", f"{latency.p99:.0f}"]),
            *(["–"] * len(Split.__slots__) if split is None else [f"{part:.1f}" for part in asdict(split).values()]),
            *(f"{row.cpu_per_1000.get(name, 0.0):.1f}" for name in ("service", "judge", "clients")),
        )
    return table


def _table_of_fairness(results: Sequence[Fairness]) -> Table:
    table = new_table("pairs per request", "clients", "fewest", "mean", "most", "Jain")
    table.title = "Shares: pairs per client"
    for result in results:
        shares = result.shares
        mean = sum(shares) / len(shares)
        cells = (f"{min(shares):.1f}", f"{mean:.1f}", f"{max(shares):.1f}", f"{result.index:.3f}")
        table.add_row("/".join(map(str, result.batch_sizes)), str(len(shares)), *cells)
        if len(result.batch_sizes) > 1:
            for size in result.batch_sizes:
                table.add_row(f"  those with {size}", "", "", f"{result.share_of_batches(size):.1f}", "", "")
    return table


def _table_of_overload(result: Overload) -> Table:
    table = new_table("overload", "")
    for name, value in (
        ("capacity, pairs/s", f"{result.capacity:.1f}"),
        ("offered, pairs/s", f"{result.offered:.1f}"),
        ("judged in time, pairs/s", f"{result.goodput:.1f}"),
        ("requests; refused; broken", f"{result.num_requests}; {result.num_refused}; {result.num_broken}"),
        ("pairs let in and not judged in time", str(result.num_failed_pairs)),
        ("refusal p50, p99, ms", _both(result.refusal)),
        ("answer p50, p99, ms", _both(result.answer)),
        ("generator behind its clock, p99, ms", f"{result.generator_lag_p99_ms:.1f}"),
        ("recovery, s", f"{result.recovery_seconds:.2f}"),
    ):
        table.add_row(name, value)
    return table


def _table_of_profile(profile: Profile) -> Table:
    table = new_table("on behalf of", "ms per pair", "share")
    busy = f"{100 * profile.busy:.0f} % busy"
    table.title = f"Event loop of the service: {profile.ms_per_pair:.1f} ms per pair, {busy}; images are read elsewhere"
    for part in profile.parts:
        table.add_row(part.name, f"{part.ms_per_pair:.2f}", f"{100 * part.ms_per_pair / profile.ms_per_pair:.1f} %")
    return table


def table_of_targets(targets: Sequence[Target]) -> Table:
    """What was wanted beside what was measured."""
    table = new_table("target", "wanted", "measured", "")
    for target in targets:
        sign = "≤" if target.at_most else "≥"
        verdict = "[green]met[/green]" if target.is_met else "[red]missed[/red]"
        wanted, measured = f"{sign} {target.wanted:g}{target.unit}", f"{target.measured:.3g}{target.unit}"
        table.add_row(target.name, wanted, measured, verdict)
    return table


def new_table(first: str, *others: str) -> Table:
    """The first column is text, the others are numbers; in Markdown, to be copied into a document."""
    table = Table(box=box.MARKDOWN, title_justify="left", title_style="")
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _both(latency: Latency | None) -> str:
    return "–" if latency is None else f"{latency.p50:.1f}, {latency.p99:.1f}"


def _processor() -> str:
    with Path("/proc/cpuinfo").open() as lines:
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, platform.machine())
