"""256 training runs on one service, on paper: `python -m benchmarks.fleet`. docs/benchmarks.md says what it means.

Owns the scenes. The scheduler is the service's own code; trainers and judges are not there, and time is virtual, so
that the same numbers come out on every machine. What a GPU really does is assumed.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from arr.sizing.needs import PAIRS_PER_PROCESS
from arr.sizing.tokens import Picture, Question, call_tokens
from benchmarks.fleet_judges import ServerShape
from benchmarks.fleet_report import GREEDY, Summary, as_json, show, summary_of
from benchmarks.fleet_scenes import Outage, Played, Scene, Way, play
from benchmarks.fleet_trainers import Kind
from benchmarks.report import machine_in_words
from shared_schemas.rubrics import Mode, Task

_ERR = Console(stderr=True, highlight=False)

_QUESTION = Question(
    task=Task.T2I,
    mode=Mode.PAIRWISE,
    picture=Picture(width=512, height=512),
    rubric_tokens=500,
    prompt_tokens=60,
)

_MOMENT = 0.01
"""Seconds of sampling of those who always want more."""


def _server() -> ServerShape:
    """As `arr size` assumes it: 20,000 tokens a second, and a tenth of a second besides."""
    tokens = call_tokens(_QUESTION)
    return ServerShape(
        tokens_per_second=20_000.0,
        step_seconds=0.02,
        way_seconds=0.08,
        max_step_tokens=8192,
        max_waiting=256,
        fresh_tokens=tokens.fresh,
        whole_tokens=float(tokens.whole),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How large a run of the benchmark is."""

    runs_per_kind: int
    """Of four kinds."""
    warm_up_seconds: float = 20.0
    measured_seconds: float = 100.0
    headroom: float = 0.3


USUAL = Plan(runs_per_kind=64)
QUICK = Plan(runs_per_kind=16)


def kinds(count: int) -> tuple[Kind, ...]:
    """Steps of 18 to 70 s, groups of 2, 4 and 8, 8 to 56 pairs a step; each kind so many times."""
    return tuple(
        Kind(
            name=name,
            count=count,
            sample_seconds=sample,
            update_seconds=update,
            groups=groups,
            candidates=candidates,
            micro_batches=parts,
        )
        for name, sample, update, groups, candidates, parts in (
            ("pairs, short", 10.0, 7.5, 8, 2, 4),
            ("pairs, long", 20.0, 15.0, 16, 2, 4),
            ("fours", 30.0, 22.5, 4, 4, 4),
            ("eights", 40.0, 30.0, 2, 8, 2),
        )
    )


def scenes(plan: Plan) -> list[tuple[Scene, tuple[Way, ...]]]:
    """What is played, and by whom."""
    server, fleet = _server(), kinds(plan.runs_per_kind)
    calls = sum(2 * kind.count * kind.pairs / (kind.sample_seconds + kind.update_seconds) for kind in fleet)
    num_replicas = math.ceil(calls / server.calls_per_second / (1 - plan.headroom))
    sized = Scene(
        name="sized",
        kinds=fleet,
        num_replicas=num_replicas,
        server=server,
        warm_up_seconds=plan.warm_up_seconds,
        measured_seconds=plan.measured_seconds,
        num_processes=math.ceil(calls / 2 / PAIRS_PER_PROCESS) + 1,
    )
    half = replace(sized, name="half the judges", num_replicas=max(1, num_replicas // 2))
    greedy = replace(sized, name="greedy run beside", kinds=(*fleet, _greedy(pairs=160)))
    hungry = replace(sized, name="all want more", kinds=_hungry(4 * plan.runs_per_kind))
    outage = Outage(begins=plan.measured_seconds / 4, ends=plan.measured_seconds / 2)
    both = (Way.SCHEDULER, Way.SEMAPHORE)
    return [
        (sized, both),
        (replace(half, measured_seconds=2 * plan.measured_seconds), both),  # whose steps are longer
        (greedy, both),
        (replace(hungry, measured_seconds=0.4 * plan.measured_seconds), tuple(Way)),
        (replace(sized, name="judge dies", server=replace(server, error_rate=0.002), outage=outage), both),
    ]


def _greedy(*, pairs: int) -> Kind:
    """A run that asks again as soon as it is answered."""
    return Kind(
        name=GREEDY, count=1, sample_seconds=_MOMENT, update_seconds=0.0, groups=pairs, candidates=2, micro_batches=1
    )


def _hungry(count: int) -> tuple[Kind, ...]:
    """Runs that always want more, every tenth of them ten times as much."""
    num_greedy = max(1, count // 10)
    modest = replace(_greedy(pairs=4), name="modest", count=count - num_greedy)
    return modest, replace(_greedy(pairs=40), count=num_greedy)


def run(plan: Plan, *, on_played: Callable[[Summary], None]) -> list[Summary]:
    """Play everything; `on_played` hears of each scene as it is done."""
    found, alone = [], dict[Way, Played]()
    for scene, ways in scenes(plan):
        for way in ways:
            played = play(scene, way)
            if scene.name == "sized":
                alone[way] = played
            without = alone[way] if scene.name == "greedy run beside" else None
            found.append(summary_of(played, without_greedy=without))
            on_played(found[-1])
    return found


def _tell(summary: Summary) -> None:
    _ERR.print(f"{summary.scene}, {summary.way}: {summary.pairs_per_second:.0f} pairs/s", style="dim")


def main(
    quick: Annotated[bool, typer.Option(help="64 runs instead of 256, and shorter.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the numbers here, as JSON.")] = None,
) -> None:
    """Play 256 training runs on the scheduler's own code in virtual time, and hold the numbers against `arr size`.

    Exit code 0 says that it was played, not that every target was met.
    """
    logging.getLogger("stamina").addHandler(logging.NullHandler())  # it says a line for every retry
    begun, machine = time.monotonic(), machine_in_words()
    found = run(QUICK if quick else USUAL, on_played=_tell)
    show(found)
    if output is not None:
        numbers = as_json(found, machine=machine, seconds=time.monotonic() - begun)
        output.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
