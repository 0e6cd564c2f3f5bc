"""Ten times as many requests as the judge can answer, sent whether or not anything comes back.

Owns the open-loop generator. The one rule: requests leave by the clock, never because another one was answered, and
nobody heeds a `Retry-After`: the worst clients there are.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus

import httpx

from benchmarks.measures import Latency, latency_of
from benchmarks.questions import Supply
from benchmarks.through_service import RUBRIC_NAME, Trainer, sample_of
from reward_client.requests import RewardOptions, prepare_reward
from shared_schemas.reward import RewardResponse, Run

_NUM_RUNS = 64

_GIVE_UP_SECONDS = 60.0
"""What has not recovered by then is reported as that long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What is sent."""

    capacity: float
    """Pairs per second that the judge answered clients who wait."""
    factor: float
    """How many times that is sent."""
    batch_size: int
    """Pairs per request."""
    deadline: timedelta
    """Of a request."""
    lasts: timedelta

    @property
    def interval_seconds(self) -> float:
        """Between two requests."""
        return self.batch_size / (self.factor * self.capacity)

    @property
    def num_requests(self) -> int:
        """In all."""
        return int(self.lasts.total_seconds() / self.interval_seconds)


@dataclass(kw_only=True, slots=True)
class _Tally:
    judged: list[tuple[float, int]] = field(default_factory=list)  # when, and how many pairs
    num_failed: int = 0
    refusal_seconds: list[float] = field(default_factory=list)
    answer_seconds: list[float] = field(default_factory=list)
    num_broken: int = 0
    lags: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Overload:
    """What came of it."""

    capacity: float
    """Pairs per second without overload."""
    offered: float
    """Pairs per second that were sent."""
    goodput: float
    """Pairs per second judged within their deadline, once one deadline has passed."""
    num_requests: int
    num_answered: int
    """Requests that were let in and answered, in time or not."""
    num_refused: int
    """Requests answered 429 or 503."""
    num_failed_pairs: int
    """Pairs let in that got no verdict in time."""
    num_broken: int
    """Requests without an answer, or with another one."""
    refusal: Latency | None
    """As the sender saw it, the time to send the body included."""
    answer: Latency | None
    """Of requests that were let in."""
    generator_lag_p99_ms: float
    """How late the generator was with its own requests. Much of it, and it is this machine that is short of CPU."""
    recovery_seconds: float
    """From the last request sent until one pair took at most twice as long as on an idle service."""

    @property
    def kept(self) -> float:
        """Share of the capacity that was still of use."""
        return self.goodput / self.capacity


async def measure_overload(url: str, supply: Supply, load: Load, *, recover: Callable[[], Awaitable[None]]) -> Overload:
    """Send the load to the service at `url`; `recover` returns when it answers as on an idle day."""
    tally = _Tally()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, trust_env=False) as http:
        # All requests beforehand: making them takes the CPU time that the service is to have.
        requests = [
            _request(http, supply, load, run=f"run-{number % _NUM_RUNS}") for number in range(load.num_requests)
        ]
        begun = time.monotonic()
        sending = await _send_by_the_clock(http, requests, load, tally)
        stopped = time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(recover(), _GIVE_UP_SECONDS)
        recovery_seconds = time.monotonic() - stopped
        await asyncio.gather(*sending)
    return _result(load, tally, begun=begun, stopped=stopped, recovery_seconds=recovery_seconds)


def _result(load: Load, tally: _Tally, *, begun: float, stopped: float, recovery_seconds: float) -> Overload:
    settled, lag = begun + load.deadline.total_seconds(), latency_of(tally.lags)
    num_judged = sum(num_pairs for at, num_pairs in tally.judged if settled <= at < stopped)
    return Overload(
        capacity=load.capacity,
        offered=load.num_requests * load.batch_size / (stopped - begun),
        goodput=num_judged / (stopped - settled),
        num_requests=load.num_requests,
        num_answered=len(tally.answer_seconds),
        num_refused=len(tally.refusal_seconds),
        num_failed_pairs=tally.num_failed,
        num_broken=tally.num_broken,
        refusal=latency_of(tally.refusal_seconds),
        answer=latency_of(tally.answer_seconds),
        generator_lag_p99_ms=0.0 if lag is None else lag.p99,
        recovery_seconds=recovery_seconds,
    )


async def until_as_fast_as(seconds: float, trainer: Trainer, supply: Supply) -> None:
    """Ask one pair after the other until one is answered within `seconds`."""
    while (await trainer.ask(supply.pairs(1))).seconds > seconds:
        pass


async def _send_by_the_clock(
    http: httpx.AsyncClient, requests: Sequence[httpx.Request], load: Load, tally: _Tally
) -> "list[asyncio.Task[None]]":
    begun, sending = time.monotonic(), list[asyncio.Task[None]]()
    for number, request in enumerate(requests):
        due = begun + number * load.interval_seconds
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tally.lags.append(max(0.0, time.monotonic() - due))
        sending.append(asyncio.create_task(_send(http, request, tally)))
    return sending


def _request(http: httpx.AsyncClient, supply: Supply, load: Load, *, run: str) -> httpx.Request:
    options = RewardOptions(rubric=RUBRIC_NAME, run=Run(id=run), deadline_seconds=load.deadline.total_seconds())
    groups = [pair.as_group() for pair in supply.pairs(load.batch_size)]
    request = prepare_reward(groups, options).call.request(http, timeout_seconds=60.0)
    request.read()
    return request


async def _send(http: httpx.AsyncClient, request: httpx.Request, tally: _Tally) -> None:
    begun = time.monotonic()
    try:
        answer = await http.send(request)
    except httpx.TransportError:
        tally.num_broken += 1
        return
    seconds = time.monotonic() - begun
    if answer.status_code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        tally.refusal_seconds.append(seconds)
    elif answer.is_success:
        sample = sample_of(RewardResponse.model_validate_json(answer.content), seconds=seconds)
        tally.answer_seconds.append(seconds)
        tally.num_failed += sample.num_failed
        tally.judged.append((time.monotonic(), sample.num_pairs - sample.num_failed))
    else:
        tally.num_broken += 1
