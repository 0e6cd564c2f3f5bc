"""The judge as a whole: both orders, cache, sharing, retries, deadlines."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image
from starlette.responses import JSONResponse

from services.judging.answers import Answer
from services.judging.backend import OpenAIBackend
from services.judging.cache import MemoryVerdictCache
from services.judging.images import JudgeImage
from services.judging.judge import Judge, JudgeLimits, JudgeNotStartedError
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.questions import (
    JudgeFailure,
    PairAnswer,
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


async def test_the_better_picture_wins_in_either_place(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    swapped = replace(question, first=question.second, second=question.first)
    forward, backward = answered(await judge.compare([question, swapped], deadline=SOON))
    assert margin_of(forward) > 2
    assert margin_of(backward) == -margin_of(forward)
    assert forward.verdict.consistent


@pytest.mark.parametrize("bias", [1.0, -0.5, 7.0])
async def test_a_position_bias_is_measured_and_leaves_no_trace_in_the_margin(
    bias: float, start_judge: StartJudge, question: PairQuestion
) -> None:
    fair = await start_judge(create_pixel_judge_app(PixelJudgeSettings()))
    biased = await start_judge(create_pixel_judge_app(PixelJudgeSettings(position_bias=bias)))
    [expected] = answered(await fair.compare([question], deadline=SOON))
    [found] = answered(await biased.compare([question], deadline=SOON))
    assert found.verdict.position_bias == pytest.approx(bias, abs=1e-12)
    assert margin_of(found) == pytest.approx(margin_of(expected), abs=1e-12)


async def test_the_second_time_the_cache_answers_and_nothing_is_spent(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    [first] = answered(await judge.compare([question], deadline=SOON))
    gate.calls.clear()
    [second] = answered(await judge.compare([question], deadline=SOON))
    assert second.verdict == first.verdict
    assert (first.cost.judge_calls, first.cost.cached_answers, first.cached) == (2, 0, False)
    assert (second.cost.judge_calls, second.cost.cached_answers, second.cached) == (0, 2, True)
    assert first.cost.completion_tokens == 2
    assert first.cost.prompt_tokens > 0
    assert (second.cost.prompt_tokens, second.cost.completion_tokens) == (0, 0)
    assert gate.num_calls == 0


async def test_a_swapped_pair_is_answered_by_the_same_two_stored_answers(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    await judge.compare([question], deadline=SOON)
    swapped = replace(question, first=question.second, second=question.first)
    [answer] = answered(await judge.compare([swapped], deadline=SOON))
    assert answer.cached


async def test_without_the_cache_nothing_is_read_written_or_shared(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    cache = MemoryVerdictCache()
    judge = await start_judge(gate.app, cache=cache)
    gate.calls.clear()
    results = await judge.compare([question, question], deadline=SOON, use_cache=False)
    assert [answer.cost.judge_calls for answer in answered(results)] == [2, 2]
    assert gate.num_calls == 4
    [answer] = answered(await judge.compare([question], deadline=SOON))
    assert answer.cost.judge_calls == 2


async def test_a_hundred_identical_questions_at_once_are_asked_once(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    gate.close()
    requests = [asyncio.create_task(judge.compare([question], deadline=SOON)) for _ in range(100)]
    await gate.somebody_waits.wait()
    gate.is_open.set()
    answers = [answered(result)[0] for result in await asyncio.gather(*requests)]
    assert len({answer.verdict for answer in answers}) == 1
    assert sorted(gate.calls.values()) == [1, 1]
    assert sum(answer.cost.judge_calls for answer in answers) == 2


async def test_a_caller_that_leaves_takes_only_its_own_calls_along(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    gate.close()
    other = replace(question, prompt="a blue square")
    leaves = asyncio.create_task(judge.compare([question, other], deadline=SOON))
    await gate.somebody_waits.wait()
    stays = asyncio.create_task(judge.compare([question], deadline=SOON))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    gate.is_open.set()
    [answer] = answered(await stays)
    assert margin_of(answer) > 2
    assert gate.num_cancelled == 2


async def test_answers_come_in_the_order_of_the_questions_and_one_failure_spoils_no_neighbour(
    start_judge: StartJudge, question: PairQuestion, blue_square: JudgeImage
) -> None:
    gate = Gate()
    judge = await start_judge(gate.app)
    unreadable = replace(question, first=replace(blue_square, digest="sha256:" + "0" * 64, png=b"no picture"))
    swapped = replace(question, first=question.second, second=question.first)
    first, second, third = await judge.compare([question, unreadable, swapped], deadline=SOON)
    assert isinstance(first, PairAnswer)
    assert isinstance(second, JudgeFailure)
    assert isinstance(third, PairAnswer)
    assert second.type is FailureType.JUDGE_REFUSED
    assert margin_of(first) == -margin_of(third)


async def test_no_questions_are_answered_at_once(gate: Gate, start_judge: StartJudge) -> None:
    judge = await start_judge(gate.app)
    assert await judge.compare([], deadline=SOON) == []


async def test_never_more_calls_at_once_than_allowed(start_judge: StartJudge, question: PairQuestion) -> None:
    gate = Gate(latency_ms=10)
    judge = await start_judge(gate.app, limits=JudgeLimits(max_window=4))
    questions = [replace(question, prompt=f"a red circle, take {number}") for number in range(10)]
    answered(await judge.compare(questions, deadline=SOON))
    assert gate.most_in_flight == 4


async def test_the_wait_for_a_free_slot_is_reported_apart(start_judge: StartJudge, question: PairQuestion) -> None:
    gate = Gate(latency_ms=20)
    judge = await start_judge(gate.app, limits=JudgeLimits(max_window=1))
    other = replace(question, prompt="a red circle, again")
    first, second = answered(await judge.compare([question, other], deadline=SOON))
    waits = sorted((first.cost.queue_seconds, second.cost.queue_seconds))
    assert waits[1] > 0.01  # of 0.02: one pair waited for the answers to the other
    [again] = answered(await judge.compare([question], deadline=SOON))
    assert again.cost.queue_seconds == 0.0  # the cache has no queue


async def test_a_passing_fault_is_retried_and_every_attempt_is_counted(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(gate.app, limits=limits(attempts=3))
    gate.fail_next = [JSONResponse({}, 500), JSONResponse({}, 429, headers={"Retry-After": "0"})]
    [answer] = answered(await judge.compare([question], deadline=SOON))
    assert answer.cost.judge_calls == 4
    assert margin_of(answer) > 2


async def test_a_lasting_fault_ends_after_the_attempts(start_judge: StartJudge, question: PairQuestion) -> None:
    gate = Gate()
    judge = await start_judge(gate.app, limits=limits(attempts=2))
    gate.fail_next = [JSONResponse({}, 429, headers={"Retry-After": "0"}) for _ in range(10)]
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert (failure.type, failure.cost.judge_calls) == (FailureType.JUDGE_OVERLOADED, 4)


async def test_a_refusal_is_not_retried(gate: Gate, start_judge: StartJudge, question: PairQuestion) -> None:
    judge = await start_judge(gate.app, limits=JudgeLimits())
    gate.fail_next = [JSONResponse({}, 400), JSONResponse({}, 400)]
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert (failure.type, failure.cost.judge_calls) == (FailureType.JUDGE_REFUSED, 2)


async def test_what_is_unfinished_at_the_deadline_is_a_timeout_and_what_is_finished_is_kept(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    await judge.compare([question], deadline=SOON)
    gate.close()
    late = replace(question, prompt="a blue square")
    kept, cut = await judge.compare([question, late], deadline=timedelta(milliseconds=300))
    assert isinstance(kept, PairAnswer)
    assert isinstance(cut, JudgeFailure)
    assert cut.type is FailureType.JUDGE_TIMEOUT
    assert gate.num_cancelled == 2
    assert gate.in_flight == 0


async def test_a_stored_answer_with_too_little_label_mass_is_off_topic(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    cache = MemoryVerdictCache()
    tolerant = await start_judge(create_pixel_judge_app(PixelJudgeSettings(label_mass=0.7)), cache=cache)
    answered(await tolerant.compare([question], deadline=SOON))
    strict = await start_judge(
        create_pixel_judge_app(PixelJudgeSettings(label_mass=0.7)), cache=cache, limits=limits(min_label_mass=0.8)
    )
    [failure] = await strict.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert (failure.type, failure.cost.judge_calls) == (FailureType.JUDGE_OFF_TOPIC, 0)


async def test_a_broken_cache_is_not_the_judges_fault_and_raises(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    class BrokenCache:
        async def get_many(self, keys: Sequence[str]) -> dict[str, Answer]:
            raise OSError("disk full")

        async def put(self, key: str, answer: Answer) -> Answer:
            raise OSError("disk full")

    judge = await start_judge(gate.app, cache=BrokenCache())
    with pytest.raises(OSError, match="disk full"):
        await judge.compare([question], deadline=SOON)


async def test_a_judge_must_be_started(gate: Gate, question: PairQuestion) -> None:
    judge = Judge([OpenAIBackend.in_process(gate.app)], cache=MemoryVerdictCache())
    with pytest.raises(JudgeNotStartedError):
        await judge.compare([question], deadline=SOON)
    assert judge.problem() == "has not answered yet"
    await judge.aclose()


async def test_check_says_what_is_wrong(start_judge: StartJudge) -> None:
    is_broken = False
    healthy = create_pixel_judge_app(PixelJudgeSettings())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (JSONResponse({}, 503) if is_broken else healthy)(scope, receive, send)

    judge = await start_judge(app)
    assert await judge.check() is None
    is_broken = True
    assert await judge.check() == "the judge failed (HTTP 503)"


async def test_an_edit_is_judged_with_its_source(
    start_judge: StartJudge,
    red_circle: JudgeImage,
    blue_square: JudgeImage,
    draw: Callable[..., Image.Image],
    judge_image: Callable[[Image.Image], JudgeImage],
) -> None:
    rubric = RubricContent.model_validate(
        {"task": "edit", "criteria": [{"id": "keep", "theme": "The rest of the source is preserved"}]}
    )
    gate = Gate()
    judge = await start_judge(gate.app)
    recoloured = judge_image(draw("circle", (40, 90, 220)))
    question = PairQuestion(
        prompt="make it blue", first=recoloured, second=blue_square, source=red_circle, rubric=rubric
    )
    gate.calls.clear()
    [answer] = answered(await judge.compare([question], deadline=SOON))
    assert margin_of(answer) > 0
    for body in gate.calls:
        user = json.loads(body)["messages"][1]["content"]
        assert sum(part["type"] == "image_url" for part in user) == 3
