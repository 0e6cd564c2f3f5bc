"""How long trainers wait for a judge that they share.

Owns the queueing model: runs take turns between their GPUs and a judge that gives every run that asks the same share,
which is what fair queueing amounts to. Refuses to know about tokens and pictures: work is counted in judge calls.

The model is Bard's and Schweitzer's approximation of mean value analysis for a closed network with one
processor-sharing server (P. Schweitzer, *Approximate Analysis of Multiclass Closed Networks of Queues*, 1979), with the
overlap of a step's micro-batches on top. Against the scheduler's own code: docs/benchmarks.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_HALVINGS = 50
"""Of an interval: to its 10¹⁵th part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """Training runs of one kind."""

    count: int
    sample_seconds: float
    """From the beginning of a step until its last micro-batch has been sampled."""
    other_seconds: float
    """All that comes after the rewards: the update."""
    micro_batches: int
    """Each is sent to the judge as soon as it is sampled."""
    calls: float
    """Judge calls of one step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a run, on average."""

    seconds: float
    """In all."""
    wait_seconds: float
    """During which its GPUs stand still for the judge."""

    @property
    def wait_share(self) -> float:
        """Of the step: `judge_wait_fraction` in `metrics.jsonl`."""
        return self.wait_seconds / self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """Trainers and judge in step with each other."""

    utilisation: float
    """Share of the judge's capacity that is used."""
    steps: tuple[Step, ...]
    """One for each kind of run."""


def wait_seconds(runs: Runs, *, work_seconds: float, floor_seconds: float) -> float:
    """How long a step stands still whose work takes the judge `work_seconds`, sent in equal micro-batches.

    With M micro-batches, sent at S/M, 2S/M … S, the judge is done at max(S + W/M, S/M + W): either it keeps up, and
    only the last micro-batch is waited for, or it has had work to do ever since the first. No answer takes less than
    `floor_seconds`.
    """
    sampling, number = runs.sample_seconds, runs.micro_batches
    return floor_seconds + max(work_seconds / number, work_seconds - sampling * (number - 1) / number)


def balance(fleet: Sequence[Runs], *, capacity: float, floor_seconds: float) -> Balance:
    """What becomes of `fleet` on a judge that does `capacity` calls a second, of which one alone takes `floor_seconds`.

    With D the work of a step in seconds of the whole judge, T the step's length and W how long the judge is at it, a
    run is at the judge for W/T of the time, and finds Q − W/T others there, where Q = Σ W/T over all runs. Its work is
    then done after W = D · (1 + Q − W/T); T is sampling, update and the wait that follows from W. The Q at which all of
    that agrees is found by halving.
    """

    def at_judge(assumed: float) -> float:
        found = [_step(runs, others=assumed, demand=runs.calls / capacity, floor=floor_seconds) for runs in fleet]
        return sum(runs.count * work / step.seconds for runs, (step, work) in zip(fleet, found, strict=True))

    num_there = _root(lambda assumed: at_judge(assumed) - assumed, low=0.0, high=sum(runs.count for runs in fleet))
    steps = [_step(runs, others=num_there, demand=runs.calls / capacity, floor=floor_seconds)[0] for runs in fleet]
    load = sum(runs.count * runs.calls / capacity / step.seconds for runs, step in zip(fleet, steps, strict=True))
    return Balance(utilisation=min(1.0, load), steps=tuple(steps))


def _step(runs: Runs, *, others: float, demand: float, floor: float) -> tuple[Step, float]:
    """A step among so many runs at the judge, itself included, and W."""
    busy = runs.sample_seconds + runs.other_seconds

    def work(seconds: float) -> float:
        return demand * (1.0 + others) / (1.0 + demand / seconds)

    def waited(seconds: float) -> float:
        return wait_seconds(runs, work_seconds=work(seconds), floor_seconds=floor)

    longest = busy + floor + demand * (1.0 + others)
    seconds = _root(lambda assumed: busy + waited(assumed) - assumed, low=busy, high=longest)
    return Step(seconds=seconds, wait_seconds=seconds - busy), work(seconds)


def _root(falling: Callable[[float], float], *, low: float, high: float) -> float:
    """Where a falling function is 0."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
