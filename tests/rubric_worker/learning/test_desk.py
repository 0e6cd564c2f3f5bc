"""The desk: what it spends, how long it waits, and what it gives up on."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from services.judging.callers import CallClass
from services.judging.chat import Written
from services.judging.chat_messages import ChatMessage, Role
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.questions import JudgeFailure, PairAnswer, PairQuestion
from services.rubric_worker.desk import Desk, DeskLimits
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.labelled_pairs import pairs_of
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.running_job import RunningJob
from services.storage.job_claims import JobClaims
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import Criterion, RubricContent, Task
from tests.rubric_worker.learning.workshop import SOON, Recorder, Workshop, rows_of_mistakes

COLOUR = RubricContent(task=Task.T2I, criteria=(Criterion(id="colour", theme="The object has the named colour"),))
HELLO = (ChatMessage(role=Role.USER, parts=("Hello!",)),)


class Greeting(BaseModel):
    """A greeting."""

    model_config = ConfigDict(frozen=True)

    text: str


def greet(body: dict[str, Any]) -> str | None:
    return json.dumps({"text": "Hello"}) if body["messages"][-1]["content"][-1].get("text") == "Hello!" else None


@pytest.fixture
async def running(workshop: Workshop) -> RunningJob:
    """A job that nothing else works on."""
    await workshop.jobs.create("learn", tenant="a", parameters={})
    claims = JobClaims(workshop.database)
    job = await claims.claim(["learn"], worker="test", lease=timedelta(minutes=1), max_lost=1)
    assert job is not None
    return RunningJob(job, claims)


@pytest.fixture
async def questions(workshop: Workshop) -> list[PairQuestion]:
    dataset = await workshop.store(rows_of_mistakes())
    pictures = Pictures(workshop.datasets)
    return [await pictures.question(one.pair, COLOUR) for one in pairs_of(await workshop.datasets.rows(dataset.id))]


async def test_answers_stand_in_order_and_the_job_pays_once(
    workshop: Workshop, running: RunningJob, questions: list[PairQuestion]
) -> None:
    judge = await workshop.judge()
    desk = Desk(running, lambda: judge, call_class=CallClass.LEARNING, limits=SOON)
    done: list[None] = []
    answers = await desk.compare(questions, on_done=lambda: done.append(None))
    assert len(done) == len(questions) == len(answers)
    assert [isinstance(answer, PairAnswer) for answer in answers] == [True] * len(questions)
    calls, tokens = running.progress.now().judge_calls, running.progress.now().tokens
    assert calls == 2 * len(questions)
    assert tokens > calls
    assert [answer.verdict for answer in await desk.compare(questions) if isinstance(answer, PairAnswer)] == [
        answer.verdict for answer in answers if isinstance(answer, PairAnswer)
    ]
    assert running.progress.now().judge_calls == calls


async def test_what_is_remembered_is_the_tenants_unless_a_scope_is_given(
    workshop: Workshop, running: RunningJob
) -> None:
    judge = await workshop.judge()
    scopes = [
        Desk(running, lambda: judge, call_class=CallClass.LEARNING, cache_scope=scope).caller.cache_scope
        for scope in (None, "shared")
    ]
    assert scopes == ["a", "shared"]


async def test_texts_are_written_and_paid_for_once(workshop: Workshop, running: RunningJob) -> None:
    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()), answer=greet)
    chat = workshop.chat(await workshop.judge(app))
    desk = Desk(running, lambda: None, chat_of=lambda: chat, call_class=CallClass.LEARNING, limits=SOON)
    assert await desk.writer() == chat.identity
    for cached in (False, True):
        written = await desk.write(HELLO, schema=Greeting, seed=1)
        assert isinstance(written, Written)
        assert (written.value, written.cached) == (Greeting(text="Hello"), cached)
    assert running.progress.now().judge_calls == 1


async def test_a_server_that_stays_away_ends_the_job(running: RunningJob, questions: list[PairQuestion]) -> None:
    desk = Desk(running, lambda: None, call_class=CallClass.LEARNING, limits=SOON)
    with pytest.raises(JobFailedError) as failed:
        await desk.compare(questions[:1])
    assert failed.value.reason == "judge-unavailable"
    with pytest.raises(JobFailedError) as failed:
        await desk.write(HELLO, schema=Greeting, seed=1)
    assert failed.value.reason == "chat-unavailable"
    with pytest.raises(JobFailedError) as failed:
        await desk.judge()
    assert failed.value.reason == "judge-unavailable"


async def test_a_judge_that_comes_back_is_asked_then(
    workshop: Workshop, running: RunningJob, questions: list[PairQuestion]
) -> None:
    judge = await workshop.judge()
    is_there = False
    num_looks = 0
    looked_twice = asyncio.Event()

    def judge_of() -> Any:
        nonlocal num_looks
        num_looks += 1
        if num_looks == 2:
            looked_twice.set()
        return judge if is_there else None

    limits = DeskLimits(patience=timedelta(minutes=1), pause=timedelta(milliseconds=1))
    desk = Desk(running, judge_of, call_class=CallClass.LEARNING, limits=limits)
    asking = asyncio.create_task(desk.compare(questions[:1]))
    await looked_twice.wait()
    assert not asking.done()
    is_there = True
    [answer] = await asking
    assert isinstance(answer, PairAnswer)


async def test_a_question_that_finds_nobody_while_others_do_has_failed(
    workshop: Workshop, running: RunningJob, questions: list[PairQuestion]
) -> None:
    """The judge fails on one prompt for ever and answers the others: that one is given up, the rest is kept."""
    unlucky = questions[0].prompt
    sick = create_pixel_judge_app(PixelJudgeSettings(error_rate=1.0, error_status=503))
    well = create_pixel_judge_app(PixelJudgeSettings())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/chat/completions"):
            await well(scope, receive, send)
            return
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()

        await (sick if f"\\n{unlucky}\\n".encode() in body else well)(scope, replay, send)

    judge = await workshop.judge(app)
    limits = DeskLimits(patience=timedelta(minutes=1), pause=timedelta(milliseconds=1), attempts=2)
    desk = Desk(running, lambda: judge, call_class=CallClass.LEARNING, limits=limits)
    one_of_each = list({question.prompt: question for question in questions}.values())
    answers = await desk.compare(one_of_each)
    assert isinstance(answers[0], JudgeFailure)
    assert answers[0].type in {FailureType.JUDGE_UNAVAILABLE, FailureType.JUDGE_OVERLOADED}
    assert not any(isinstance(answer, JudgeFailure) for answer in answers[1:])
