"""Asking the service: clients of separate runs, over HTTP.

Owns the clients; every one has its own connections and its own run id, as trainers on different machines have.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks.closed_loop import Ask
from benchmarks.measures import Sample
from benchmarks.questions import RUBRIC, Pair, Supply
from reward_client import AsyncRewardClient
from shared_schemas.reward import Orders, RewardResponse, Run, Status

RUBRIC_NAME = "benchmark"


class Trainer:
    """One client with a run of its own."""

    def __init__(self, client: AsyncRewardClient, *, run: str) -> None:
        self._client = client
        self._run = Run(id=run)

    async def ask(self, pairs: Sequence[Pair], *, orders: Orders = Orders.BOTH) -> Sample:
        """One request."""
        groups = [pair.as_group() for pair in pairs]
        begun = time.perf_counter()
        result = await self._client.reward(groups, rubric=RUBRIC_NAME, orders=orders, run=self._run)
        return sample_of(result.response, seconds=time.perf_counter() - begun)


@asynccontextmanager
async def trainers(url: str, num_trainers: int) -> AsyncIterator[list[Trainer]]:
    """Clients of the service at `url`, which gets the rubric set first."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncRewardClient(url)) for _ in range(num_trainers)]
        await clients[0].publish_rubric(RUBRIC_NAME, RUBRIC)
        yield [Trainer(client, run=f"run-{number}") for number, client in enumerate(clients)]


def asking(trainer: Trainer, supply: Supply, *, num_pairs: int = 1, orders: Orders = Orders.BOTH) -> Ask:
    """A client of a closed loop: new pairs, so many per request."""
    return lambda: trainer.ask(supply.pairs(num_pairs), orders=orders)


def sample_of(response: RewardResponse, *, seconds: float) -> Sample:
    """What counts of an answer."""
    return Sample(
        num_pairs=len(response.results),
        num_failed=sum(result.status is Status.FAILED for result in response.results),
        judge_calls=response.usage.judge_calls,
        seconds=seconds,
        timing=response.timing,
    )
