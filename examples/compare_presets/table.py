"""From finished runs to the tables of docs/experiments.md. Pure functions of JSON values."""

from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import Any

from examples.compare_presets.plan import ARMS, RATES, REPORTED_SEEDS, STEPS, SWEEP_SEEDS

Results = Mapping[str, Mapping[str, Any]]

_MEASURES = ("win_rate", "win_rate_held_out", "truth", "truth_held_out")


def best_rate(results: Results, arm: str, judge: str) -> float:
    """The rate with the highest mean win rate on the seeds of the sweep. Raises `ValueError` when none was swept."""
    means = {rate: _mean(_of(results, arm, judge, rate, SWEEP_SEEDS), "win_rate") for rate in RATES}
    known = {rate: mean for rate, mean in means.items() if mean is not None}
    return max(known, key=lambda rate: known[rate])


def tables(results: Results) -> str:
    """One table of the sweeps and one of the reported runs for each judge, in Markdown."""
    return "\n\n".join(part for judge in ("sound", "noisy") for part in _judge_tables(results, judge))


def _judge_tables(results: Results, judge: str) -> Iterable[str]:
    arms = [arm for arm in ARMS if judge in arm.judges]
    swept = [arm.name for arm in arms if arm.rate_of is None and _any(results, arm.name, judge)]
    head = f"| {judge} judge: win rate in the sweep | " + " | ".join(f"{rate:g}" for rate in RATES) + " |"
    rows = [
        f"| {name} | "
        + " | ".join(_number(_mean(_of(results, name, judge, rate, SWEEP_SEEDS), "win_rate")) for rate in RATES)
        + " |"
        for name in swept
    ]
    yield "\n".join([head, "|---" * (len(RATES) + 1) + "|", *rows])
    columns = "rate | runs | win rate | held out | truth | held out | images | comparisons | tied | wrong"
    head = f"| {judge} judge | {columns} |"
    rows = [
        _row(results, arm.name, judge, best_rate(results, arm.rate_of or arm.name, judge))
        for arm in arms
        if _any(results, arm.rate_of or arm.name, judge)
    ]
    yield "\n".join([head, "|---" * 11 + "|", *rows])


def _row(results: Results, arm: str, judge: str, rate: float) -> str:
    runs = list(_of(results, arm, judge, rate, REPORTED_SEEDS))
    if not runs:
        return f"| {arm} | {rate:g} | 0 |" + " |" * 8
    measures = [_spread([run["scores"][-1][measure] for run in runs]) for measure in _MEASURES]
    counts = [f"{runs[0][name]:,}" for name in ("num_images", "num_comparisons")]
    shares = [f"{fmean(run[name] for run in runs):.2f}" for name in ("tied", "wrong")]
    return f"| {arm} | {rate:g} | {len(runs)} | " + " | ".join([*measures, *counts, *shares]) + " |"


def _of(results: Results, arm: str, judge: str, rate: float, seeds: Iterable[int]) -> Iterable[Mapping[str, Any]]:
    wanted = {"arm": arm, "judge": judge, "rate": rate, "steps": STEPS}
    chosen = set(seeds)
    for result in results.values():
        run = result["run"]
        if run["seed"] in chosen and all(run[name] == value for name, value in wanted.items()):
            yield result


def _any(results: Results, arm: str, judge: str) -> bool:
    return any(result["run"]["arm"] == arm and result["run"]["judge"] == judge for result in results.values())


def _mean(results: Iterable[Mapping[str, Any]], measure: str) -> float | None:
    values = [result["scores"][-1][measure] for result in results]
    return fmean(values) if values else None


def _spread(values: list[float]) -> str:
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{fmean(values):.3f} ± {deviation:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
