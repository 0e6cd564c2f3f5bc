"""Mixed traffic of a soak, and what was wrong with its answers. What is asked has an answer that is known.

A request has failed when the client, which tries again for a minute, raises; when a group of it has failed; or when a
job ends for want of a judge or of a worker. A storm of the judges, and nothing else, excuses those that needed them.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random

from reward_client import AsyncRewardClient, CandidateGroup, RewardClientError
from reward_client.datasets import Row
from reward_client.retries import RetryPolicy
from shared_schemas.jobs import JobReason, JobState
from shared_schemas.learning import LearnFailure, LearnRequest
from shared_schemas.reward import RewardResponse, Run, Status
from shared_schemas.rubrics import Criterion, Mode, RubricContent, Task
from tests.reliability.questions import GREYS, RUBRIC, Questions, faults_of, grey_png
from tests.reliability.soak_place import Place

PATIENCE = timedelta(seconds=60)

SCORING = RUBRIC.model_copy(update={"mode": Mode.POINTWISE})

_WANT_OF_A_JUDGE = {LearnFailure.JUDGE_UNAVAILABLE, LearnFailure.CHAT_UNAVAILABLE, LearnFailure.TOO_MANY_FAILURES}
_NEVER = {JobReason.INTERNAL_ERROR, JobReason.WORKER_LOST, JobReason.CANCELLED, LearnFailure.DATASET_GONE}


@dataclass(kw_only=True)
class Tally:
    """What became of everything that was asked."""

    requests: Counter[str] = field(default_factory=Counter)
    """By kind."""
    excused: Counter[str] = field(default_factory=Counter)
    """Failed in a storm, by kind and reason."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed without an excuse, likewise."""
    violations: Counter[str] = field(default_factory=Counter)
    """Answers that must not be, whatever happens."""


class Traffic:
    """Clients of every kind, half of them at each replica. A context manager."""

    def __init__(self, place: Place, *, seed: int) -> None:
        self.tally = Tally()
        self._place = place
        self._random = Random(seed)
        self._questions = Questions(seed)
        self._numbers = count()
        self._scores: dict[str, float] = {}
        self._published = 0
        patience = RetryPolicy(attempts=10_000, deadline=PATIENCE, wait_max=timedelta(seconds=1))
        self._clients = [AsyncRewardClient(replica.url, retries=patience) for replica in place.replicas]

    async def __aenter__(self) -> "Traffic":
        """Publish what is judged by."""
        await self._clients[0].publish_rubric("light", RUBRIC)
        await self._clients[0].publish_rubric("light-score", SCORING)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await asyncio.gather(*(client.aclose() for client in self._clients))

    async def flow(self, *, until: float) -> None:
        """Every kind at each replica, one request after the other, until the monotonic clock says so."""
        kinds: tuple[Callable[[AsyncRewardClient], Awaitable[str | None]], ...] = (
            *(self._pairs, self._pairs, self._group, self._score),
            *(self._upload, self._learn, self._publish),
        )
        await asyncio.gather(*(self._keep(ask, client, until) for ask in kinds for client in self._clients))

    async def check_versions(self) -> None:
        """What was published is there, without gaps."""
        versions = [version.version async for version in self._clients[0].list_rubric_versions("published")]
        if versions != list(range(self._published, 0, -1)):
            self.tally.violations[f"{self._published} versions were published, there are {len(versions)}"] += 1

    async def _keep(
        self, ask: Callable[[AsyncRewardClient], Awaitable[str | None]], client: AsyncRewardClient, until: float
    ) -> None:
        kind = ask.__name__.strip("_")
        while time.monotonic() < until:
            begun = time.monotonic()
            try:
                failure = await ask(client)
            except (RewardClientError, TimeoutError) as error:
                failure = f"{type(error).__name__}: {error}"[:160]
            self.tally.requests[kind] += 1
            if failure is not None:
                needs_judge = ask not in (self._upload, self._publish)
                is_excused = needs_judge and self._place.stormed(begun, time.monotonic())
                (self.tally.excused if is_excused else self.tally.failures)[f"{kind}: {failure}"] += 1
            await asyncio.sleep(0.05 if kind in {"pairs", "group", "score"} else 1.0)

    async def _pairs(self, client: AsyncRewardClient) -> str | None:
        batch = self._questions.batch(4)
        groups = [_group(group["prompt"], group["candidates"], id=group["id"]) for group in batch.groups]
        response = await self._ask(client, groups, rubric="light")
        for group, result in zip(batch.groups, response.results, strict=True):
            for fault in faults_of(group, result):
                self.tally.violations[f"pairs: {fault}"] += 1
        return _failure(response)

    async def _group(self, client: AsyncRewardClient) -> str | None:
        shown = self._random.sample(list(GREYS), 4)
        response = await self._ask(client, [_group(f"four, no. {next(self._numbers)}", shown)], rubric="light")
        [result] = response.results
        brightest_first = sorted(shown, key=GREYS.__getitem__, reverse=True)
        truth = tuple(float(1 + brightest_first.index(name)) for name in shown)
        if result.status is Status.TIED or (result.status is Status.SCORED and result.ranks != truth):
            self.tally.violations[f"group: {result.status}, ranks {result.ranks} instead of {truth}"] += 1
        return _failure(response)

    async def _score(self, client: AsyncRewardClient) -> str | None:
        shown = self._random.sample(list(GREYS), 3)
        prompt = f"one of {self._random.randrange(50)}"  # again and again: equal requests have equal answers
        response = await self._ask(client, [_group(prompt, shown)], rubric="light-score")
        [result] = response.results
        for name, score in zip(shown, result.scores or (), strict=result.scores is not None):
            if self._scores.setdefault(name, score) != score:
                self.tally.violations[f"score: {name} has {score} and {self._scores[name]}"] += 1
        return _failure(response)

    async def _ask(self, client: AsyncRewardClient, groups: Sequence[CandidateGroup], *, rubric: str) -> RewardResponse:
        run = Run(id=f"soak-{self._random.randrange(8)}")
        result = await client.reward(groups, rubric=rubric, run=run, deadline_seconds=PATIENCE.total_seconds())
        return result.response

    async def _upload(self, client: AsyncRewardClient) -> str | None:
        number = next(self._numbers)
        uploaded = [await self._dataset(client, number, num_rows=3) for _ in range(2)]
        if uploaded[0] != uploaded[1]:
            self.tally.violations[f"upload: the same rows are the datasets {uploaded}"] += 1
        return None

    async def _learn(self, client: AsyncRewardClient) -> str | None:
        dataset = await self._dataset(client, next(self._numbers), num_rows=24)
        job = await client.learn("learned", LearnRequest(dataset=dataset, seed=self._random.randrange(1000)))
        job = await client.wait_for_job(job.id, deadline=timedelta(minutes=5))
        if job.state is JobState.SUCCEEDED or job.reason not in _WANT_OF_A_JUDGE | _NEVER:
            return None  # that a set is no better than none is an answer
        return str(job.reason)

    async def _publish(self, client: AsyncRewardClient) -> str | None:
        number = next(self._numbers)
        criterion = Criterion(id="light", theme=f"Brightness, no. {number}")
        version = await client.publish_rubric("published", RubricContent(task=Task.T2I, criteria=(criterion,)))
        self._published += 1
        await client.set_alias("published", f"alias-{number % 5}", version.version)
        read = await client.get_rubric("published", version.version)
        if read.content.criteria != (criterion,):
            self.tally.violations[f"publish: version {version.version} says something else"] += 1
        return None

    async def _dataset(self, client: AsyncRewardClient, number: int, *, num_rows: int) -> int:
        names = list(GREYS)
        rows: list[Row] = []
        images: dict[str, bytes | Path] = {}
        for row in range(num_rows):
            dark, bright = sorted(Random(row).sample(names, 2), key=GREYS.__getitem__)
            prompt = f"a picture, dataset {number}, row {row}"
            rows.append({"prompt": prompt, "images": [f"{bright}.png", f"{dark}.png"], "rank": [1, 2]})
            images |= {f"{name}.png": grey_png(name) for name in (bright, dark)}
        return (await client.upload_dataset(rows, images, deadline=PATIENCE)).id


def _group(prompt: str, names: Sequence[str], *, id: str | None = None) -> CandidateGroup:
    return CandidateGroup(prompt, [grey_png(name) for name in names], id=id)


def _failure(response: RewardResponse) -> str | None:
    """Why the first group that failed did."""
    return next((str(result.error.type) for result in response.results if result.error is not None), None)
