"""Training runs that exist on paper: they sample, send, wait and update, in the time of the event loop.

Owns a step as `trainer.train` has it: each micro-batch is sent as soon as it is sampled, and the rewards of the whole
step are waited for after the last.
"""

import asyncio
from dataclasses import dataclass, field
from random import Random

from arr.sizing.waiting import Runs
from benchmarks.fleet_services import Service

_JITTER = 0.1
"""Sampling and updating take up to this share longer or shorter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """Runs that are alike."""

    name: str
    count: int
    sample_seconds: float
    """Of a step."""
    update_seconds: float
    """Of a step."""
    groups: int
    """Prompts per step."""
    candidates: int
    """Images per prompt, all compared with all."""
    micro_batches: int

    @property
    def pairs(self) -> int:
        """Of one step."""
        return self.groups * self.candidates * (self.candidates - 1) // 2

    @property
    def as_runs(self) -> Runs:
        """For the calculator: in both orders, nothing remembered."""
        return Runs(
            count=self.count,
            sample_seconds=self.sample_seconds,
            other_seconds=self.update_seconds,
            micro_batches=self.micro_batches,
            calls=2 * self.pairs,
        )


@dataclass(kw_only=True, slots=True)
class Tally:
    """What one run has seen since it was last cleared."""

    step_seconds: list[float] = field(default_factory=list)
    wait_seconds: list[float] = field(default_factory=list)
    answer_seconds: list[float] = field(default_factory=list)
    """Of one micro-batch."""
    num_pairs: int = 0
    """That were judged."""
    num_failed: int = 0
    """That were not."""


class Trainer:
    """One run."""

    def __init__(self, kind: Kind, *, run: str, service: Service, random: Random) -> None:
        self.kind = kind
        self.run = run
        self.tally = Tally()
        self._service = service
        self._random = random

    async def train(self) -> None:
        """Step after step, until it is cancelled; the first begins at a random time."""
        kind, now = self.kind, asyncio.get_running_loop().time
        await asyncio.sleep(self._random.uniform(0.0, kind.sample_seconds + kind.update_seconds))
        while True:
            begun = now()
            async with asyncio.TaskGroup() as group:
                for number in range(kind.micro_batches):
                    await self._work(kind.sample_seconds / kind.micro_batches)
                    pairs = kind.pairs * (number + 1) // kind.micro_batches
                    pairs -= kind.pairs * number // kind.micro_batches
                    group.create_task(self._judge(pairs))
                sampled = now()
            waited = now() - sampled
            await self._work(kind.update_seconds)
            self.tally.wait_seconds.append(waited)
            self.tally.step_seconds.append(now() - begun)

    async def _judge(self, num_pairs: int) -> None:
        now = asyncio.get_running_loop().time
        begun = now()
        num_failed = await self._service.judge(self.run, num_pairs)
        self.tally.answer_seconds.append(now() - begun)
        self.tally.num_pairs += num_pairs - num_failed
        self.tally.num_failed += num_failed

    async def _work(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._random.uniform(1 - _JITTER, 1 + _JITTER))
