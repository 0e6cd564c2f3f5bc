"""What became of the fleets: shares, waits, and how far off the calculator was; as tables and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.fleet_scenes import Played, Way
from benchmarks.fleet_trainers import Kind, Tally
from benchmarks.measures import jain
from benchmarks.report import new_table, table_of_targets
from benchmarks.targets import Target

GREEDY = "greedy"
"""The kind that wants ten times as much."""

_WIDTH = 170
"""Columns that the table needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One scene, one way."""

    scene: str
    way: Way
    num_replicas: int
    num_runs: int
    used: float
    """Share of the judges' capacity that went into answers."""
    predicted_used: float
    pairs_per_second: float
    wait_share: float
    """`judge_wait_fraction`, over all steps of all runs but a greedy one."""
    predicted_wait_share: float
    wait_p50: float
    """Seconds of a step."""
    wait_p99: float
    jain: float
    """Of steps a second, each run's divided by the mean of its kind, greedy ones left out."""
    fewest: float
    """The smallest of those."""
    most: float
    """The largest of those."""
    others_share: float
    """Pairs a second of the modest run that got fewest, by an equal part of everybody's."""
    num_failed: int
    """Pairs that were not judged."""
    kept: float | None = None
    """Pairs of all but the greedy run, by those that they get without it."""


def summary_of(played: Played, *, without_greedy: Played | None = None) -> Summary:
    """All numbers of it; `without_greedy` is the same fleet left to itself."""
    scene, predicted = played.scene, played.scene.predicted
    others = [(kind, tally) for kind, tally in played.runs if kind.name != GREEDY]
    waits = np.array([seconds for _, tally in others for seconds in tally.wait_seconds])
    shares = _relative_shares(others)
    return Summary(
        scene=scene.name,
        way=played.way,
        num_replicas=scene.num_replicas,
        num_runs=len(played.runs),
        used=played.used,
        predicted_used=predicted.utilisation,
        pairs_per_second=_pairs(played.runs) / scene.measured_seconds,
        wait_share=float(waits.sum()) / sum(sum(tally.step_seconds) for _, tally in others),
        predicted_wait_share=_predicted_wait_share(played),
        wait_p50=float(np.percentile(waits, 50)),
        wait_p99=float(np.percentile(waits, 99)),
        jain=jain(shares),
        fewest=min(shares),
        most=max(shares),
        others_share=min(_rates(others)) * len(_rates(played.runs)) / sum(_rates(played.runs)),
        num_failed=sum(tally.num_failed for _, tally in played.runs),
        kept=None if without_greedy is None else _pairs(others) / _pairs(without_greedy.runs),
    )


def targets_of(found: Sequence[Summary]) -> list[Target]:
    """What was promised of fairness and goodput, and how far off the calculator may be."""
    by_name = {(each.scene, each.way): each for each in found}
    targets = []
    for each in found:
        if each.way is Way.SEMAPHORE:
            continue
        name = f"{each.scene}, {each.way}"
        match each.scene:
            case "sized":
                error = abs(each.used / each.predicted_used - 1)
                targets.append(Target(name=f"{name}: use, off by", wanted=0.1, measured=error, at_most=True))
                off = abs(each.wait_share - each.predicted_wait_share)
                targets.append(Target(name=f"{name}: waiting share, off by", wanted=0.02, measured=off, at_most=True))
                targets.append(Target(name=f"{name}: Jain", wanted=0.95, measured=each.jain))
            case "half the judges":
                targets.append(Target(name=f"{name}: goodput", wanted=0.9, measured=each.used, unit=" of capacity"))
                targets.append(Target(name=f"{name}: Jain", wanted=0.95, measured=each.jain))
            case "greedy run beside":
                kept = by_name[each.scene, each.way].kept
                measured = float("nan") if kept is None else kept
                targets.append(Target(name=f"{name}: others keep", wanted=0.9, measured=measured))
            case "all want more":
                share = Target(name=f"{name}: least share of a modest run", wanted=0.9, measured=each.others_share)
                used = Target(name=f"{name}: goodput", wanted=0.9, measured=each.used, unit=" of capacity")
                targets += [used, share, Target(name=f"{name}: Jain of the modest", wanted=0.95, measured=each.jain)]
            case "judge dies":
                failed = Target(name=f"{name}: pairs not judged", wanted=0, measured=each.num_failed, at_most=True)
                targets.append(failed)
    return targets


def as_json(found: Sequence[Summary], *, machine: str, seconds: float) -> dict[str, Any]:
    """Every number."""
    return {
        "machine": machine,
        "seconds": seconds,
        "scenes": [asdict(each) for each in found],
        "targets": [{**asdict(target), "is_met": target.is_met} for target in targets_of(found)],
    }


def show(found: Sequence[Summary]) -> None:
    """Print everything."""
    console = Console(width=max(Console().width, _WIDTH))
    console.print(_table(found))
    console.print(table_of_targets(targets_of(found)))


def _table(found: Sequence[Summary]) -> Table:
    table = new_table(
        *("scene", "judges", "way", "used", "predicted", "pairs/s", "waiting", "predicted"),
        *("p50 s", "p99 s", "Jain", "fewest", "most", "others", "keep", "failed"),
    )
    for each in found:
        table.add_row(
            each.scene,
            str(each.num_replicas),
            each.way,
            f"{each.used:.3f}",
            f"{each.predicted_used:.3f}",
            f"{each.pairs_per_second:.0f}",
            f"{100 * each.wait_share:.1f} %",
            f"{100 * each.predicted_wait_share:.1f} %",
            f"{each.wait_p50:.2f}",
            f"{each.wait_p99:.2f}",
            f"{each.jain:.3f}",
            f"{each.fewest:.2f}",
            f"{each.most:.2f}",
            f"{each.others_share:.2f}" if each.scene == "all want more" else "–",
            "–" if each.kept is None else f"{each.kept:.3f}",
            str(each.num_failed),
        )
    return table


def _relative_shares(runs: Sequence[tuple[Kind, Tally]]) -> list[float]:
    of_kind: dict[str, list[float]] = {}
    for kind, tally in runs:
        of_kind.setdefault(kind.name, []).extend(_rates([(kind, tally)]))
    means = {name: sum(rates) / len(rates) for name, rates in of_kind.items() if rates}
    return [rate / means[name] for name, rates in of_kind.items() for rate in rates]


def _rates(runs: Sequence[tuple[Kind, Tally]]) -> list[float]:
    """Pairs a second of each run that ended a step, over its whole steps: the edges of the time change nothing."""
    return [
        kind.pairs * len(tally.step_seconds) / sum(tally.step_seconds) for kind, tally in runs if tally.step_seconds
    ]


def _predicted_wait_share(played: Played) -> float:
    """Over all runs but a greedy one, each for the whole time."""
    kinds, steps = played.scene.kinds, played.scene.predicted.steps
    shares = [(kind.count, step.wait_share) for kind, step in zip(kinds, steps, strict=True) if kind.name != GREEDY]
    return sum(count * share for count, share in shares) / sum(count for count, _ in shares)


def _pairs(runs: Sequence[tuple[Kind, Tally]]) -> int:
    return sum(tally.num_pairs for _, tally in runs)
