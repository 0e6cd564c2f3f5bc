"""Several replicas, some of them lost, changed or different."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import JSONResponse

from services.judging.answers import Answer
from services.judging.cache import MemoryVerdictCache
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

    def __init__(self, **settings: Any) -> None:
        self.is_there = True
        self.was_missed = asyncio.Event()
        self._gate = Gate(**settings)

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


async def test_another_judge_takes_over_from_one_that_stays_away(
    start_judge: StartJudge, question: PairQuestion
) -> None:
    servers = {model: Switch(model=model) for model in ("pixel-judge", "another")}
    judge = await start_judge(*(server.app for server in servers.values()), limits=limits(attempts=3))
    first = judge.identity.model
    servers[first].is_there = False
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    answered(await judge.compare([question], deadline=SOON))
    assert (judge.identity.model != first, judge.num_changes) == (True, 1)
    assert [state.problem for state in judge.replicas() if state.is_available] == [None]


async def test_calls_wait_for_a_judge_that_comes_back(start_judge: StartJudge, question: PairQuestion) -> None:
    switch = Switch()
    judge = await start_judge(switch.app, limits=replace(limits(attempts=3), patience=timedelta(seconds=15)))
    switch.is_there = False
    waiting = asyncio.create_task(judge.compare([question], deadline=SOON))
    await switch.was_missed.wait()
    switch.is_there = True
    answered(await waiting)
    assert judge.problem() is None


class Diary(MemoryVerdictCache):
    """Takes down what was stored."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[str] = []

    async def put(self, key: str, answer: Answer) -> Answer:
        self.stored.append(key)
        return await super().put(key, answer)


async def test_answers_that_come_after_the_judge_has_changed_are_given_to_nobody(
    start_judge: StartJudge, question: PairQuestion
) -> None:
    before, after = Gate(), Gate(scale=2.0)
    current = before

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await current.app(scope, receive, send)

    cache = Diary()
    judge = await start_judge(app, cache=cache)
    before.close()
    asking = asyncio.create_task(judge.compare([question], deadline=SOON))
    await before.somebody_waits.wait()
    current = after
    assert await judge.check() is None
    before.is_open.set()
    [failure] = await asking
    assert isinstance(failure, JudgeFailure)
    assert (failure.type, failure.detail) == (
        FailureType.JUDGE_UNAVAILABLE,
        "the judge has become another one; ask again",
    )
    [new] = answered(await judge.compare([question], deadline=SOON))
    assert sorted(cache.stored) == sorted(asked.key for asked in new.asked)


class Dead:
    """A pixel judge that can lose what answers questions, and still says who it is."""

    def __init__(self) -> None:
        self.is_dead = False
        self.num_calls = 0
        self._gate = Gate()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if self.is_dead and scope["path"].endswith("/chat/completions"):
            self.num_calls += 1
            await JSONResponse({}, 500)(scope, receive, send)
        else:
            await self._gate.app(scope, receive, send)


async def test_a_replica_that_only_says_who_it_is_gets_no_calls_until_it_answers_a_question(
    start_judge: StartJudge, question: PairQuestion
) -> None:
    server = Dead()
    judge = await start_judge(server.app, limits=replace(limits(attempts=1), patience=timedelta(seconds=1)))
    server.is_dead = True
    questions = [replace(question, prompt=f"a red circle, take {number}") for number in range(100)]
    failures = await judge.compare(questions, deadline=SOON)
    assert {failure.type for failure in failures if isinstance(failure, JudgeFailure)} == {
        FailureType.JUDGE_UNAVAILABLE
    }
    assert server.num_calls < 50  # of 200: one window, and a probe now and then


async def test_a_judge_that_refuses_everything_is_asked_little_more_than_once(
    start_judge: StartJudge, question: PairQuestion
) -> None:
    gate = Gate()
    judge = await start_judge(gate.app, limits=limits(attempts=3))
    gate.fail_next = [JSONResponse({}, 429, headers={"Retry-After": "0"}) for _ in range(1000)]
    gate.calls.clear()
    questions = [replace(question, prompt=f"a red circle, take {number}") for number in range(100)]
    failures = await judge.compare(questions, deadline=SOON)
    assert all(isinstance(failure, JudgeFailure) for failure in failures)
    assert 200 < gate.num_calls <= 230  # 200 + 10 % + a reserve of 10
