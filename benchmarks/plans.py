"""How large a run is: the usual one, the quick one, and what tests run."""

from dataclasses import dataclass
from datetime import timedelta

from benchmarks.closed_loop import Window


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeShape:
    """The pixel judge as it stands in for a model on a GPU."""

    capacity: int
    """Requests that it works on at a time. Small, so that the judge is what everybody waits for, not these cores."""
    latency_ms: float = 50.0
    """Of a one-token answer."""
    token_ms: float = 5.0
    """Of every further token: to read 8B parameters of 16 bits takes a GPU of 3.35 TB/s (H100) so long."""

    def as_settings(self) -> dict[str, object]:
        """Of the pixel judge; the bias gives `adaptive` something to look out for."""
        return {
            "capacity": self.capacity,
            "latency_ms": self.latency_ms,
            "token_ms": self.token_ms,
            "position_bias": 0.3,  # nats
        }


SERVICE: dict[str, object] = {"position_bias_bound": 0.5}
"""Settings of `arr serve`: its defaults, and the bound (nats) without which `adaptive` asks both orders."""

VLLM_SERVICE: dict[str, object] = {"position_bias_bound": 0.1, "min_label_mass": 0}
"""The same in front of a random model: its margins are a tenth of a nat, and its labels two percent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run."""

    side: int
    """Of the pictures of the throughput rows, pixels."""
    rows_judge: JudgeShape
    rows_window: Window
    counts: tuple[int, ...]
    """Clients at a time."""
    repeated_pairs: int
    small_side: int
    """Of the pictures under pressure: there the CPU is for many requests, not for large ones."""
    small_judge: JudgeShape
    num_runs: int
    """Clients that share the judge."""
    fairness_window: Window
    batch_sizes: tuple[int, ...]
    """Of the second measurement of fairness; the first has one pair per request."""
    overload_batch: int
    overload_factor: float
    overload_deadline: timedelta
    overload_lasts: timedelta
    vllm_window: Window
    num_pictures: int = 24
    vllm_side: int = 128
    """Of the pictures on vLLM."""


def _window(warm_up: float, measured: float) -> Window:
    return Window(warm_up=timedelta(seconds=warm_up), measured=timedelta(seconds=measured))


USUAL = Plan(
    side=512,
    rows_judge=JudgeShape(capacity=2),
    rows_window=_window(1.0, 4.0),
    counts=(1, 8, 64),
    repeated_pairs=32,
    small_side=128,
    small_judge=JudgeShape(capacity=4),
    num_runs=64,
    fairness_window=_window(4.0, 11.0),
    batch_sizes=(1, 2, 4),
    overload_batch=4,
    overload_factor=10.0,
    overload_deadline=timedelta(seconds=2),
    overload_lasts=timedelta(seconds=10),
    vllm_window=_window(2.0, 5.0),
)

QUICK = Plan(
    side=128,
    rows_judge=JudgeShape(capacity=4),
    rows_window=_window(0.3, 1.2),
    counts=(1, 8, 64),
    repeated_pairs=32,
    small_side=128,
    small_judge=JudgeShape(capacity=4),
    num_runs=64,
    fairness_window=_window(1.0, 2.0),
    batch_sizes=(1, 2),
    overload_batch=4,
    overload_factor=10.0,
    overload_deadline=timedelta(seconds=1),
    overload_lasts=timedelta(seconds=2.5),
    vllm_window=_window(0.5, 1.5),
)
