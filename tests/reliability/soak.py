"""`python -m tests.reliability.soak`: mixed traffic and faults for as long as one likes. docs/reliability.md.

Two replicas of the service on one PostgreSQL and one Redis, before two judges whose answers are known. Exit code 0 says
that it was measured, not that every target was met; 1, that an answer was wrong.
"""

import asyncio
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.report import machine_in_words, new_table, table_of_targets
from benchmarks.targets import Target
from tests.reliability.questions import margins
from tests.reliability.soak_growth import Growth, Watch
from tests.reliability.soak_place import FAULTS, Place, place_in
from tests.reliability.soak_traffic import Tally, Traffic

_CALM_SECONDS = 6.0
"""Between faults, on average."""

_QUIET_SECONDS = 15.0
"""At the end without faults: what was failing has time to recover, and what was begun to end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Soak:
    """What came of it."""

    machine: str
    seed: int
    seconds: float
    requests: dict[str, int]
    """By kind; what follows, by kind and reason."""
    failures: dict[str, int]
    excused: dict[str, int]
    violations: dict[str, int]
    faults: dict[str, int]
    growth: Growth
    """Of the replica that was not killed."""

    @property
    def targets(self) -> list[Target]:
        """What was promised. Flat = an interval that reaches zero."""
        share = sum(self.failures.values()) / max(1, sum(self.requests.values()))
        memory, files = self.growth.memory, self.growth.files
        return [
            Target(name="failed without an excuse", wanted=0.01, measured=100 * share, unit=" %", at_most=True),
            Target(name="invariants broken", wanted=0, measured=sum(self.violations.values()), at_most=True),
            Target(name="memory, least slope", wanted=0, measured=memory.low, unit=" MB/h", at_most=True),
            Target(name="open files, least slope", wanted=0, measured=files.low, unit=" per h", at_most=True),
        ]

    def as_json(self) -> dict[str, Any]:
        """Every number."""
        return asdict(self) | {"targets": [{**asdict(target), "is_met": target.is_met} for target in self.targets]}


async def soak(place: Place, *, seconds: float, seed: int) -> Soak:
    """Let traffic flow and faults happen for so long."""
    begun, watch = time.monotonic(), Watch(pid=place.replicas[0].pid)
    until = begun + seconds
    async with Traffic(place, seed=seed) as traffic:
        looking = asyncio.create_task(watch.look(every_seconds=min(5.0, seconds / 200)))
        suffering = asyncio.create_task(_suffer(place, Random(seed), until=until - _QUIET_SECONDS))
        await traffic.flow(until=until)
        await suffering
        await traffic.check_versions()
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
    return _result(place, traffic.tally, watch, seconds=time.monotonic() - begun, seed=seed)


def _result(place: Place, tally: Tally, watch: Watch, *, seconds: float, seed: int) -> Soak:
    return Soak(
        machine=machine_in_words(),
        seed=seed,
        seconds=seconds,
        requests=dict(tally.requests),
        failures=dict(tally.failures),
        excused=dict(tally.excused),
        violations=dict(tally.violations),
        faults=dict(Counter(happening.name for happening in place.happenings)),
        growth=watch.growth(),
    )


async def _suffer(place: Place, random: Random, *, until: float) -> None:
    """One fault after the other, in turns of all kinds."""
    turn: list[str] = []
    while True:
        turn = turn or random.sample(list(FAULTS), len(FAULTS))
        await asyncio.sleep(random.uniform(0.5, 1.5) * _CALM_SECONDS)
        if time.monotonic() > until:
            return
        await place.suffer(turn.pop(), random)


def show(found: Soak) -> None:
    """Print everything."""
    console = Console(width=max(Console().width, 120))
    console.print(f"{found.machine}; {found.seconds:.0f} s, seed {found.seed}", highlight=False)
    growth = found.growth
    counts = {"requests": found.requests, "faults": found.faults, "failed, excused": found.excused}
    table = new_table("soak", "")
    for name, counter in (counts | {"failed": found.failures, "broken": found.violations}).items():
        table.add_row(f"{name}: all", str(sum(counter.values())))
        for what, number in sorted(counter.items()):
            table.add_row(f"  {what}"[:90], str(number))
    for name, first, last, slope in (
        ("memory, MB", growth.first_mb, growth.last_mb, growth.memory),
        ("open files", growth.first_files, growth.last_files, growth.files),
    ):
        table.add_row(f"{name}: after the warm-up, at the end", f"{first:.1f}, {last:.1f}")
        table.add_row("  per hour (95 %)", f"{slope.per_hour:+.1f} ({slope.low:+.1f} to {slope.high:+.1f})")
    console.print(table)
    console.print(table_of_targets(found.targets))


def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Of the traffic and the faults.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Write the numbers here, as JSON.")] = None,
) -> None:
    """Ask the service all kinds of things while its judges, its Redis and one of its replicas fail again and again."""
    margins()  # what the judges will say; found on an event loop of its own
    logging.getLogger("stamina").addHandler(logging.NullHandler())  # it says a line for every retry
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, place_in(Path(folder)) as place:
        found = asyncio.run(soak(place, seconds=60 * minutes, seed=seed))
        show(found)
        _tell_of_errors(place.replicas)
    if output is not None:
        output.write_text(json.dumps(found.as_json(), indent=1) + "\n")
    raise typer.Exit(1 if found.violations else 0)


def _tell_of_errors(replicas: Sequence[Any]) -> None:
    errors = [line for replica in replicas for line in replica.log.splitlines() if "level=ERROR" in line]
    for line in errors[:5]:
        Console(stderr=True, highlight=False).print(line)


if __name__ == "__main__":
    typer.run(main)
