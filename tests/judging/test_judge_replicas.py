"""Several replicas, some of them lost, changed or different."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import JSONResponse

from services.judging.images import JudgeImage
from services.judging.questions import (
    JudgeFailure,
    PairQuestion,
)
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent
from tests.judging.gated_judge import SOON, Gate, StartJudge, answered, limits, margin_of


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def question(red_circle: JudgeImage, blue_square: JudgeImage, rubric: RubricContent) -> PairQuestion:
    return PairQuestion(prompt="a red circle", first=red_circle, second=blue_square, source=None, rubric=rubric)


async def test_replicas_share_the_work_and_keep_pairs_together(start_judge: StartJudge, question: PairQuestion) -> None:
    gates = [Gate(latency_ms=5), Gate(latency_ms=5)]
    judge = await start_judge(*(gate.app for gate in gates))
    for gate in gates:
        gate.calls.clear()
    questions = [replace(question, prompt=f"a red circle, take {number}") for number in range(20)]
    answered(await judge.compare(questions, deadline=SOON))
    assert [gate.num_calls for gate in gates] == [20, 20]


async def test_what_one_replica_drops_another_answers(start_judge: StartJudge, question: PairQuestion) -> None:
    gates = [Gate(), Gate()]
    judge = await start_judge(*(gate.app for gate in gates), limits=limits(attempts=3))
    questions = [replace(question, prompt=f"a red circle, take {number}") for number in range(10)]
    alone = answered(await judge.compare(questions, deadline=SOON, use_cache=False))
    gates[0].fail_next = [JSONResponse({}, 500) for _ in range(1000)]
    together = answered(await judge.compare(questions, deadline=SOON, use_cache=False))
    assert [answer.verdict for answer in together] == [answer.verdict for answer in alone]


async def test_a_replica_that_serves_another_model_is_left_out(start_judge: StartJudge, question: PairQuestion) -> None:
    right = Gate()
    wrong = Gate(model="another")
    judge = await start_judge(right.app, wrong.app)
    states = {state.is_available: state for state in judge.replicas()}
    assert states[False].problem == "it serves another judge than the other replicas"
    left_out = wrong if judge.identity.model == "pixel-judge" else right
    left_out.calls.clear()
    answered(await judge.compare([question], deadline=SOON))
    assert left_out.num_calls == 0


async def test_a_model_that_changed_behind_the_url_is_noticed_and_judged_anew(
    start_judge: StartJudge, question: PairQuestion
) -> None:
    before, after = Gate(), Gate(scale=2.0)
    current = before

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await current.app(scope, receive, send)

    judge = await start_judge(app)
    [old] = answered(await judge.compare([question], deadline=SOON))
    old_identity, current = judge.identity, after
    assert await judge.check() is None
    assert judge.num_changes == 1
    assert judge.identity.fingerprint != old_identity.fingerprint
    [new] = answered(await judge.compare([question], deadline=SOON))
    assert not new.cached
    assert margin_of(new) == pytest.approx(margin_of(old) / 4)


class Switch:
    """A pixel judge that can be taken away."""

    def __init__(self) -> None:
        self.is_there = True
        self.was_missed = asyncio.Event()
        self._gate = Gate()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if not self.is_there:
            self.was_missed.set()
            raise ConnectionRefusedError
        await self._gate.app(scope, receive, send)


async def test_calls_fail_when_the_judge_stays_away(start_judge: StartJudge, question: PairQuestion) -> None:
    switch = Switch()
    judge = await start_judge(switch.app, limits=limits(attempts=3))
    switch.is_there = False
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert failure.type is FailureType.JUDGE_UNAVAILABLE
    assert judge.problem() == "the judge failed (HTTP 500)"


async def test_calls_wait_for_a_judge_that_comes_back(start_judge: StartJudge, question: PairQuestion) -> None:
    switch = Switch()
    judge = await start_judge(switch.app, limits=replace(limits(attempts=3), patience=timedelta(seconds=15)))
    switch.is_there = False
    waiting = asyncio.create_task(judge.compare([question], deadline=SOON))
    await switch.was_missed.wait()
    switch.is_there = True
    answered(await waiting)
    assert judge.problem() is None
