"""Two ways from a trainer to the judges: this service's own code, and what one would write in an afternoon.

Owns both, behind one call. HTTP, the decoding of images and admission are left out of either.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count, cycle
from random import Random
from typing import Protocol

from benchmarks.fleet_judges import PaperBackend
from services.judging.cache import MemoryVerdictCache
from services.judging.callers import Caller
from services.judging.failures import BackendError
from services.judging.images import JudgeImage
from services.judging.judge import Judge
from services.judging.prompts import JudgePrompt, pair_prompt
from services.judging.questions import JudgeFailure, PairQuestion
from shared_schemas.rubrics import Criterion, RubricContent, Task

_DEADLINE = timedelta(hours=1)
"""Nobody gives up, so that everybody who waits is counted."""

_SEMAPHORE_PER_REPLICA = 16
"""As many as the scheduler begins with."""

_ATTEMPTS = 3
"""Per call, as the scheduler's, and after pauses as long as its."""

_WITHIN = timedelta(seconds=60)
"""A call, likewise."""


class Service(Protocol):
    """Where trainers ask."""

    async def judge(self, run: str, num_pairs: int) -> int:
        """Have so many new pairs of `run` judged in both orders; how many of them were not."""
        ...


class Scheduled:
    """One or more service processes, each with a scheduler of its own that knows nothing of the others.

    Requests go to them in turn, as a load balancer would have it.
    """

    def __init__(self, judges: Sequence[Judge]) -> None:
        self._turns = cycle(judges)
        self._questions = _Questions()

    async def judge(self, run: str, num_pairs: int) -> int:
        """As `Service` says."""
        questions = self._questions.pairs(run, num_pairs)
        caller = Caller(run=run)
        answers = await next(self._turns).compare(questions, deadline=_DEADLINE, use_cache=False, caller=caller)
        return sum(isinstance(answer, JudgeFailure) for answer in answers)


class Semaphore:
    """First come, first served: one semaphore, replicas in turn, and again elsewhere where a call fails."""

    def __init__(self, backends: Sequence[PaperBackend], *, random: Random) -> None:
        self._turns = cycle(backends)
        self._slots = asyncio.Semaphore(_SEMAPHORE_PER_REPLICA * len(backends))
        self._questions = _Questions()
        self._random = random

    async def judge(self, run: str, num_pairs: int) -> int:
        """As `Service` says."""
        questions = self._questions.pairs(run, num_pairs)
        judged = await asyncio.gather(*(self._both_orders(question) for question in questions))
        return judged.count(False)

    async def _both_orders(self, question: PairQuestion) -> bool:
        images = (question.first, question.second)
        prompts = [
            pair_prompt(question.prompt, *shown, source=None, rubric=question.rubric)
            for shown in (images, images[::-1])
        ]
        return all(await asyncio.gather(*map(self._ask, prompts)))

    async def _ask(self, prompt: JudgePrompt) -> bool:
        for attempt in range(_ATTEMPTS):
            try:
                async with self._slots:
                    await next(self._turns).ask(prompt, within=_WITHIN)
            except BackendError:
                await asyncio.sleep(0.1 * 2**attempt * self._random.uniform(0.5, 1.0))
            else:
                return True
        return False


@asynccontextmanager
async def scheduled(backends: Sequence[PaperBackend], *, num_processes: int) -> AsyncIterator[Service]:
    """So many processes of this service before the same judges."""
    judges = [Judge(backends, cache=MemoryVerdictCache(max_entries=1)) for _ in range(num_processes)]
    try:
        await asyncio.gather(*(judge.start() for judge in judges))
        yield Scheduled(judges)
    finally:
        await asyncio.gather(*(judge.aclose() for judge in judges))


class _Questions:
    """Pairs that are all new; a run has one rubric set for all of its own."""

    def __init__(self) -> None:
        self._number = count()
        self._rubrics: dict[str, RubricContent] = {}

    def pairs(self, run: str, num_pairs: int) -> list[PairQuestion]:
        rubric = self._rubrics.get(run) or self._rubrics.setdefault(run, _rubric(run))
        return [
            PairQuestion(prompt="a picture", first=self._image(), second=self._image(), source=None, rubric=rubric)
            for _ in range(num_pairs)
        ]

    def _image(self) -> JudgeImage:
        return JudgeImage(digest=f"sha256:{next(self._number):064x}", width=512, height=512, png=b"")


def _rubric(run: str) -> RubricContent:
    """Of about 500 tokens, and no other run's."""
    tips = tuple(f"{run}, tip {number}: {'something that can be seen. ' * 6}" for number in range(10))
    return RubricContent(task=Task.T2I, criteria=(Criterion(id="all", theme="All", tips=tips),))
