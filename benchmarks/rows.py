"""Every way of asking, one after the other, on one judge and the same pictures.

Owns the list of rows; the ways themselves are `direct` and `through_service`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.closed_loop import Ask, Measured, Window, measure
from benchmarks.direct import DirectJudge
from benchmarks.measures import Latency, Split, latency_of, per_thousand, split_of
from benchmarks.processes import Server
from benchmarks.questions import Supply
from benchmarks.through_service import Trainer, asking
from shared_schemas.reward import Orders


class Way(StrEnum):
    """How a pair is judged."""

    WRITTEN = "(a) written rank"
    """The reference implementation: one order, a reason and a rank in JSON."""
    GATHER = "(b) gather"
    """Hand-written: both orders at a time, one token each, straight to the judge."""
    SERVICE = "(c) service"
    """`POST /reward`, one pair per request."""
    ADAPTIVE = "(c) adaptive"
    """The same with `orders=adaptive`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One way of asking by so many clients at a time."""

    way: Way
    num_clients: int
    num_pairs: int
    seconds: float
    judge_calls: int
    num_failed: int
    """Pairs without a verdict."""
    num_unread: int
    """Written answers whose rank was not reached."""
    latency: Latency | None
    """Of a request; none when nothing ended."""
    split: Split | None
    """Through the service only."""
    cpu_per_1000: dict[str, float]
    """CPU seconds per 1,000 pairs, by process."""

    @property
    def rate(self) -> float:
        """Pairs per second."""
        return self.num_pairs / self.seconds

    @property
    def calls_per_pair(self) -> float:
        """Judge calls; NaN without pairs."""
        return self.judge_calls / self.num_pairs if self.num_pairs else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What all rows share."""

    direct: DirectJudge
    trainers: Sequence[Trainer]
    supply: Supply
    judge: Server
    service: Server
    window: Window

    async def row(self, way: Way, num_clients: int) -> Row:
        """Measure one."""
        clients = [self._client(way, trainer) for trainer in self.trainers[:num_clients]]
        return _row(way, num_clients, await measure(clients, self.window, servers=(self.judge, self.service)))

    def _client(self, way: Way, trainer: Trainer) -> Ask:
        match way:
            case Way.WRITTEN:
                return lambda: self.direct.written_rank(self.supply.pair())
            case Way.GATHER:
                return lambda: self.direct.both_orders(self.supply.pair())
            case Way.SERVICE:
                return asking(trainer, self.supply)
            case Way.ADAPTIVE:
                return asking(trainer, self.supply, orders=Orders.ADAPTIVE)


async def all_rows(bench: Bench, counts: Sequence[int], *, on_row: Callable[[Row], None]) -> list[Row]:
    """Every way with every number of clients; `on_row` hears of each as it is done."""
    rows = []
    for way in Way:
        for num_clients in counts:
            rows.append(await bench.row(way, num_clients))
            on_row(rows[-1])
    return rows


def _row(way: Way, num_clients: int, measured: Measured) -> Row:
    samples = measured.samples
    num_pairs = sum(sample.num_pairs for sample in samples)
    return Row(
        way=way,
        num_clients=num_clients,
        num_pairs=num_pairs,
        seconds=measured.seconds,
        judge_calls=sum(sample.judge_calls for sample in samples),
        num_failed=sum(sample.num_failed for sample in samples),
        num_unread=sum(sample.num_unread for sample in samples),
        latency=latency_of([sample.seconds for sample in samples]),
        split=split_of(samples),
        cpu_per_1000=per_thousand(measured.cpu_seconds, num_pairs),
    )
