"""Questions whose answers are known: greys of different brightness, judged for brightness.

No two ordered pairs of greys have the same margin, so a verdict that got under another question is as visible as one
that was made up.
"""

import asyncio
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import count, cycle, permutations
from random import Random
from typing import Any

import httpx
from PIL import Image

from services.judging.backend import OpenAIBackend
from services.judging.cache import MemoryVerdictCache
from services.judging.images import read_png
from services.judging.judge import Judge
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.questions import PairAnswer, PairQuestion
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem
from shared_schemas.reward import GroupResult, PairVerdict, RewardResponse, Status
from shared_schemas.rubrics import Criterion, RubricContent, Task

RUBRIC = RubricContent(
    task=Task.T2I, criteria=(Criterion(id="light", theme="Brightness", tips=("The picture is bright.",)),)
)

POSITION_BIAS = 0.7
"""Nats; of every judge here, so that two answers of different questions, put together, do not add up to it."""

_GOLOMB_RULER = (0, 1, 6, 10, 23, 26, 34, 41, 53, 55)
"""All differences of its marks are different."""

GREYS = {f"grey-{mark}": 20 + 4 * mark for mark in _GOLOMB_RULER}


@dataclass(frozen=True)
class Batch:
    """What one request asks."""

    groups: list[dict[str, Any]]

    @property
    def images(self) -> dict[str, bytes]:
        return {name: grey_png(name) for group in self.groups for name in group["candidates"]}

    @property
    def num_calls(self) -> int:
        """Both orders of every pair."""
        return 2 * len(self.groups)


class Questions:
    """Endless new questions: pairs of the same greys, each under a prompt of its own."""

    def __init__(self, seed: int = 0, *, name: str = "a picture") -> None:
        pairs = list(permutations(GREYS, 2))
        Random(seed).shuffle(pairs)
        self._pairs = cycle(pairs)
        self._numbers = count()
        self._name = name

    def batch(self, num_groups: int) -> Batch:
        groups = []
        for _ in range(num_groups):
            number, candidates = next(self._numbers), list(next(self._pairs))
            groups.append({"id": f"g{number}", "prompt": f"{self._name}, no. {number}", "candidates": candidates})
        return Batch(groups)


@dataclass
class Tally:
    """What became of groups, and what was wrong with answers."""

    statuses: Counter[str] = field(default_factory=Counter)
    """Groups by status."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed groups by type."""
    refusals: Counter[int] = field(default_factory=Counter)
    """Requests that were refused, by HTTP status."""
    violations: list[str] = field(default_factory=list)

    @property
    def num_scored(self) -> int:
        return self.statuses["scored"]

    @property
    def num_groups(self) -> int:
        return self.statuses.total()

    def add(self, batch: Batch, answer: httpx.Response) -> RewardResponse | None:
        """Hold an answer against the truth; None for a refusal, which has to be a problem document."""
        if answer.status_code != 200:
            self.refusals[answer.status_code] += 1
            self.violations += _faults_of_refusal(answer)
            return None
        response = RewardResponse.model_validate_json(answer.content)
        for group, result in zip(batch.groups, response.results, strict=True):
            self.statuses[result.status] += 1
            if result.error is not None:
                self.failures[result.error.type] += 1
            self.violations += [f"{group['id']}: {fault}" for fault in faults_of(group, result)]
        return response


def faults_of(group: dict[str, Any], result: GroupResult) -> list[str]:
    """The candidates differ by far more than the tie band, so a group is scored right or has failed."""
    faults = [] if result.id == group["id"] else [f"answered as {result.id}"]
    first, second = group["candidates"]
    margin = margins()[first, second]
    if result.status is Status.SCORED and result.rewards != ((1.0, -0.1) if margin > 0 else (-0.1, 1.0)):
        faults.append(f"an invented reward {result.rewards} for a margin of {margin:.3f}")
    if result.status is Status.SCORED and [_is_right(pair, margin) for pair in result.pairs] != [True]:
        faults.append(f"an invented verdict {result.pairs} for a margin of {margin:.3f}")
    if result.status is Status.TIED:
        faults.append(f"an invented tie for a margin of {margin:.3f}")
    return faults


def _is_right(pair: PairVerdict, margin: float) -> bool:
    if pair.margin is None or pair.position_bias is None:
        return False
    return abs(pair.margin - margin) < 1e-9 and abs(pair.position_bias - POSITION_BIAS) < 1e-9


def _faults_of_refusal(answer: httpx.Response) -> list[str]:
    if answer.headers["Content-Type"] != PROBLEM_MEDIA_TYPE:
        return [f"HTTP {answer.status_code} is no problem document: {answer.text[:80]}"]
    problem = Problem.model_validate_json(answer.content)
    if answer.status_code >= 500 and answer.status_code != 503:
        return [f"HTTP {answer.status_code}: {problem.detail}"]
    if answer.status_code in {429, 503} and int(answer.headers.get("Retry-After", 0)) < 1:
        return [f"HTTP {answer.status_code} does not say when to come back"]
    return []


@cache
def grey_png(name: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16), GREYS[name]).convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()


@cache
def margins() -> dict[tuple[str, str], float]:
    """(first, second) → what the pixel judge, which is deterministic, says when nothing goes wrong; nats."""
    pairs = list(permutations(GREYS, 2))
    answers = asyncio.run(_in_process(pairs))
    found = dict(zip(pairs, [answer.verdict.margin or 0.0 for answer in answers], strict=True))
    assert all((margin > 0) == (GREYS[first] > GREYS[second]) for (first, second), margin in found.items())
    assert len({round(margin, 6) for margin in found.values()}) == len(found)
    return found


async def _in_process(pairs: Sequence[tuple[str, str]]) -> list[PairAnswer]:
    app = create_pixel_judge_app(PixelJudgeSettings(position_bias=POSITION_BIAS))
    judge = Judge([OpenAIBackend.in_process(app)], cache=MemoryVerdictCache())
    await judge.start()
    image = {name: read_png(grey_png(name)) for name in GREYS}
    questions = [
        PairQuestion(prompt="a picture", first=image[first], second=image[second], source=None, rubric=RUBRIC)
        for first, second in pairs
    ]
    answers = await judge.compare(questions, deadline=timedelta(seconds=60))
    await judge.aclose()
    return [answer for answer in answers if isinstance(answer, PairAnswer)]
