"""Learning a rubric set, measured: `python -m benchmarks.learning`. docs/benchmarks.md says what the numbers mean.

Owns the order of the runs and the report. The judge is a process of its own; what is learned is the set of
`examples/learn_rubrics`, from drawings.
"""

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import processes
from benchmarks.learning_place import Learned, Place, Way, open_place
from benchmarks.report import MIN_WIDTH, machine_in_words, new_table, table_of_targets
from benchmarks.targets import Target
from benchmarks.weighing import Weighing, measure_weighing
from services.judging.pixel_judge.settings import PixelJudgeSettings
from shared_schemas.autorubric import AutoRubricParameters
from shared_schemas.evaluations import Fractions
from shared_schemas.learning import ArrParameters, LearnRequest

_ERR = Console(stderr=True, highlight=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run of the benchmark."""

    parameters: ArrParameters
    weighing: AutoRubricParameters
    """Of the method that weighs."""
    judge: dict[str, object]
    """Settings of the pixel judge, as it stands in for a model on a GPU."""
    selection: tuple[int, int] = (256, 1000)
    """Pairs and criteria that weights are fitted to."""


_JUDGE: dict[str, object] = {
    "latency_ms": 50.0,  # of a one-token answer
    "token_ms": 1.25,  # of a further one: 5 ms of an 8B model, whose tokens are four of the pixel judge's characters
    "capacity": 8,  # at a time; these cores could not do many more
}

_FEW = AutoRubricParameters(seed_pairs=2, criteria_per_pair=1, pairs_per_round=4, folds=3)
"""So few first criteria that later rounds have something to add."""

USUAL = Plan(
    parameters=ArrParameters(fractions=Fractions(train=0.4, validation=0.2, test=0.4)),
    weighing=_FEW.model_copy(update={"fractions": Fractions(train=0.4, validation=0.2, test=0.4)}),
    judge=_JUDGE,
)
QUICK = Plan(
    parameters=ArrParameters(
        fractions=Fractions(train=0.2, validation=0.2, test=0.6), criteria_per_pair=2, max_revisions=1, other_pairs=1
    ),
    weighing=_FEW.model_copy(update={"fractions": Fractions(train=0.3, validation=0.2, test=0.5), "rounds": 2}),
    judge=_JUDGE | {"latency_ms": 10.0, "token_ms": 0.1},
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningReport:
    """What a run of the benchmark found."""

    machine: str
    plan: Plan
    runs: tuple[Learned, ...]
    """Of the method `arr`, in the order of `Way`."""
    weighing: Weighing
    """The method `autorubric_t2i`."""
    seconds: float

    @property
    def targets(self) -> list[Target]:
        """What was promised: a set that was learned before costs nothing, and all ways come to the same one."""
        serial, built, again = self.runs
        digests = {_digest(run) for run in self.runs}
        return [
            Target(name="(b) / (c), time", wanted=20, measured=built.seconds / again.seconds, unit="×"),
            Target(name="(a) / (c), time", wanted=20, measured=serial.seconds / again.seconds, unit="×"),
            Target(name="judge calls of (c)", wanted=0, measured=again.job.judge_calls, at_most=True),
            Target(name="different sets learned", wanted=1, measured=len(digests), at_most=True),
            Target(
                name="judge calls of (c), weighed", wanted=0, measured=self.weighing.again.job.judge_calls, at_most=True
            ),
            Target(
                name="different sets learned, weighed",
                wanted=1,
                measured=len({_digest(self.weighing.built), _digest(self.weighing.again)}),
                at_most=True,
            ),
        ]

    def floor_seconds(self, run_: Learned) -> float:
        """What the judge alone needs for the calls of a run: its latency each, one or `capacity` of them at a time.

        Text that it writes takes longer, so that nothing measured can be below this.
        """
        judge = PixelJudgeSettings.model_validate(self.plan.judge)
        calls = run_.job.judge_calls
        at_once = 1 if run_.way is Way.SERIAL else judge.capacity or max(1, calls)
        return calls * judge.latency_ms / 1000 / at_once

    def as_json(self) -> dict[str, Any]:
        """Every number."""
        return {
            "machine": self.machine,
            "seconds": self.seconds,
            "judge": self.plan.judge,
            "parameters": self.plan.parameters.model_dump(mode="json"),
            "runs": [{**_run_as_json(run), "floor_seconds": self.floor_seconds(run)} for run in self.runs],
            "weighing": {
                "parameters": self.plan.weighing.model_dump(mode="json"),
                "runs": [_run_as_json(run) for run in (self.weighing.built, self.weighing.again)],
                "rounds": [{**asdict(each), "remembered": each.remembered} for each in self.weighing.rounds],
                "selection": asdict(self.weighing.selection),
                "memory_mib": asdict(self.weighing.memory),
            },
            "targets": [{**asdict(target), "is_met": target.is_met} for target in self.targets],
        }


async def run(plan: Plan, folder: Path) -> LearningReport:
    """Learn the same set in every way, with logs and data in `folder`."""
    begun, machine = time.monotonic(), machine_in_words()
    with processes.pixel_judge(folder / "judge", plan.judge) as judge:
        async with open_place(folder / "serial", judge.url, way=Way.SERIAL) as place:
            serial = await _learn(place, Way.SERIAL, plan, folder / "serial")
        async with open_place(folder / "built", judge.url, way=Way.BUILT) as place:
            built = await _learn(place, Way.BUILT, plan, folder / "built")
            again = await _learn(place, Way.AGAIN, plan, folder / "built")
        _ERR.print("weighing", style="dim", markup=False)
        weighing = await measure_weighing(folder / "weighing", judge.url, plan.weighing, size=plan.selection)
    return LearningReport(
        machine=machine,
        plan=plan,
        runs=(serial, built, again),
        weighing=weighing,
        seconds=time.monotonic() - begun,
    )


def show(report: LearningReport) -> None:
    """Print everything."""
    console = Console(width=max(Console().width, MIN_WIDTH))
    console.print(report.machine, highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in report.plan.judge.items()), highlight=False)
    table = new_table("way", "judge calls", "tokens", "seconds", "of that at least the judge's", "ended as")
    for run_ in report.runs:
        job = run_.job
        seconds = (f"{run_.seconds:.2f}", f"{report.floor_seconds(run_):.2f}")
        table.add_row(run_.way, f"{job.judge_calls:,}", f"{job.tokens:,}", *seconds, job.reason or job.state)
    console.print(table)
    console.print(_table_of_stages(report.runs))
    console.print(_table_of_rounds(report.weighing))
    console.print(_table_of_memory(report.weighing))
    console.print(table_of_targets(report.targets))


def _table_of_stages(runs: Sequence[Learned]) -> Table:
    table = new_table(
        "stage", "items", *(f"{name} {what}" for name in ("(a)", "(b)", "(c)") for what in ("calls", "s"))
    )
    for stages in zip(*(run_.job.stages for run_ in runs), strict=True):
        cells = (cell for stage in stages for cell in (f"{stage.judge_calls:,}", f"{stage.seconds:.2f}"))
        table.add_row(stages[0].name, f"{stages[0].total:,}", *cells)
    return table


def _table_of_rounds(weighing: Weighing) -> Table:
    table = new_table(
        "autorubric_t2i, round", "criteria", "new", "questions", "judge calls", "remembered", "calls to write", "s"
    )
    for each in weighing.rounds:
        counts = (each.num_criteria, each.num_new, each.questions, each.judge_calls, each.remembered)
        cells = (f"{count:,}" for count in (*counts, each.writing_calls))
        table.add_row(str(each.number), *cells, f"{each.seconds:.2f}")
    for run_ in (weighing.built, weighing.again):
        job = run_.job
        table.add_row(f"whole job, {run_.way}", "", "", "", f"{job.judge_calls:,}", "", "", f"{run_.seconds:.2f}")
    return table


def _table_of_memory(weighing: Weighing) -> Table:
    selection = weighing.selection
    table = new_table("autorubric_t2i", "s", "peak memory, MiB", "before, MiB")
    for name, seconds, memory in (
        (f"selection, {selection.num_pairs:,} × {selection.num_criteria:,}", selection.seconds, selection.memory),
        ("worker, both jobs", weighing.built.seconds + weighing.again.seconds, weighing.memory),
    ):
        table.add_row(name, f"{seconds:.2f}", f"{memory.peak:.0f}", f"{memory.before:.0f}")
    return table


def _run_as_json(run_: Learned) -> dict[str, Any]:
    return {
        "way": run_.way,
        "state": run_.job.state,
        "seconds": run_.seconds,
        "judge_calls": run_.job.judge_calls,
        "tokens": run_.job.tokens,
        "digest": _digest(run_),
        "stages": [stage.model_dump(mode="json") for stage in run_.job.stages],
    }


async def _learn(place: Place, way: Way, plan: Plan, folder: Path) -> Learned:
    _ERR.print(str(way), style="dim", markup=False)
    request = LearnRequest(dataset=await place.store(folder / "pairs"), parameters=plan.parameters, publish_anyway=True)
    return await place.learn(way, request)


def _digest(run_: Learned) -> str:
    """Of the set that was learned."""
    rubric = (run_.job.result or {}).get("rubric") or {}
    return str(rubric.get("digest"))


def _stop(_signal: int, _frame: object) -> None:
    """Leave in order, so that the judge ends too."""
    raise SystemExit(128 + signal.SIGTERM)


def main(
    quick: Annotated[bool, typer.Option(help="A faster judge and fewer pairs: half a minute, and rougher.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the numbers here, as JSON.")] = None,
) -> None:
    """Measure learning: one call at a time without a cache, as built, and the same again.

    Exit code 0 says that it was measured, not that every target was met.
    """
    signal.signal(signal.SIGTERM, _stop)
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = asyncio.run(run(QUICK if quick else USUAL, Path(folder)))
        except processes.DidNotStartError as error:
            _ERR.print(f"error: {error}", style="red", markup=False)
            raise typer.Exit(1) from None
    show(report)
    if output is not None:
        output.write_text(json.dumps(report.as_json(), indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
