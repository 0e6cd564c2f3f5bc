"""Two real vLLM servers behind one judge, and one of them killed in the middle of a batch."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest

from services.judging.images import JudgeImage
from services.judging.judge import Judge, JudgeLimits
from services.judging.observer import NullObserver
from services.judging.questions import JudgeFailure, PairAnswer, PairQuestion
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent

SOON = timedelta(seconds=120)

NUM_PAIRS = 60
"""More calls than both windows take at once, so that many are in flight or waiting when the first is answered."""


class KillAfterTheFirstAnswer(NullObserver):
    """Kills the process of one replica as soon as it has answered once, and counts what comes of its calls."""

    def __init__(self, process: "subprocess.Popen[bytes]", *, replica: str) -> None:
        self._process = process
        self._replica = replica
        self.num_answers = 0
        self.failures: list[FailureType] = []

    def call_ended(self, *, replica: str, seconds: float, failure: FailureType | None) -> None:
        if replica != self._replica:
            return
        if failure is not None:
            self.failures.append(failure)
            return
        self.num_answers += 1
        if self.num_answers == 1:
            os.kill(self._process.pid, signal.SIGKILL)


@pytest.fixture
def doomed(
    start_vllm: Callable[[], AbstractContextManager[tuple["subprocess.Popen[bytes]", str]]],
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A second server, started before and stopped after everything that runs on the event loop."""
    with start_vllm() as (process, url):
        yield process, url


@pytest.mark.timeout(600)  # both servers may have to start
async def test_when_one_of_two_replicas_is_killed_every_pair_gets_the_verdict_it_would_have_got(
    vllm_url: str,
    doomed: tuple["subprocess.Popen[bytes]", str],
    start_judge: Callable[..., Awaitable[Judge]],
    judge: Judge,
    any_label_mass: JudgeLimits,
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
    nearly: Callable[[Any], Any],
) -> None:
    questions = [
        PairQuestion(prompt=f"cube {n}", first=picture(n), second=picture(n + 1), source=None, rubric=rubric)
        for n in range(NUM_PAIRS)
    ]
    expected = await judge.compare(questions, deadline=SOON)
    process, doomed_url = doomed
    witness = KillAfterTheFirstAnswer(process, replica=doomed_url.removeprefix("http://"))
    both = await start_judge(vllm_url, doomed_url, limits=any_label_mass, observer=witness)
    assert both.identity == judge.identity, "replicas of one model are one judge"
    answers = await both.compare(questions, deadline=SOON)
    assert witness.num_answers >= 1
    assert set(witness.failures) == {FailureType.JUDGE_UNAVAILABLE}, "calls were under way when it died"
    async with asyncio.timeout(15):  # answers that were on their way when it died speak for it until it is looked at
        while available(both) != [vllm_url.removeprefix("http://")]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert margins(answers) == nearly(margins(expected))
    assert len(set(margins(expected))) == NUM_PAIRS


def available(judge: Judge) -> list[str]:
    return [replica.name for replica in judge.replicas() if replica.is_available]


def margins(answers: Sequence[PairAnswer | JudgeFailure]) -> list[float]:
    """Of every pair; all of them must have been judged."""
    verdicts = [answer.verdict.margin for answer in answers if isinstance(answer, PairAnswer)]
    assert len(verdicts) == NUM_PAIRS, [answer for answer in answers if not isinstance(answer, PairAnswer)]
    return [margin for margin in verdicts if margin is not None]
