"""The model that writes: remembering, sharing and trying again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydantic import BaseModel
from starlette.responses import Response

from services.judging.callers import CallClass, Caller
from services.judging.chat import Chat, ChatLimits, ChatNotStartedError, Written
from services.judging.chat_backend import ChatBackend
from services.judging.chat_cache import ChatAnswer, MemoryChatCache
from services.judging.chat_messages import ChatMessage, Role
from services.judging.images import JudgeImage
from services.judging.judge import Judge, JudgeLimits
from services.judging.observer import NullObserver
from services.judging.questions import Cost, JudgeFailure, PairAnswer, PairQuestion
from services.judging.scheduling.replica_set import ReplicaSet
from services.storage.chat_answers import DatabaseChatCache
from services.storage.database import Database
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent
from tests.judging.scripted_endpoint import Endpoint, Script, answering, completion, in_turn, writing

SOON = timedelta(seconds=20)
ME = Caller(tenant="me", call_class=CallClass.LEARNING, cache_scope="me")
LIMITS = ChatLimits(first_backoff=timedelta(milliseconds=1))


class Colour(BaseModel):
    """A shape to be asked for."""

    name: str


RED, BLUE = writing('{"name": "red"}'), writing('{"name": "blue"}')

StartChat: TypeAlias = Callable[..., Awaitable[Chat]]


@pytest.fixture
async def start_chat() -> AsyncIterator[StartChat]:
    """`await start_chat(endpoint, script, cache=…, limits=…)`: reached, and from then on answering by the script."""
    opened: list[ReplicaSet] = []

    async def start(endpoint: Endpoint, script: Script, **options: Any) -> Chat:
        replicas = replicas_of(endpoint)
        opened.append(replicas)
        await replicas.start()
        endpoint.bodies.clear()
        endpoint.script = script
        settings: dict[str, Any] = {"cache": MemoryChatCache(), "limits": LIMITS, "is_the_judge": False} | options
        return Chat(replicas, **settings)

    yield start
    for replicas in opened:
        await replicas.aclose()


def replicas_of(endpoint: Endpoint) -> ReplicaSet:
    return ReplicaSet(
        [ChatBackend.in_process(endpoint.app)],
        max_window=8,
        probe_within=SOON,
        patience=timedelta(0),
        observer=NullObserver(),
        writing_share=1.0,
    )


class Held:
    """A script that writes "red" once it is released."""

    def __init__(self, *, num_calls: int = 1) -> None:
        """`was_asked` is set when this many calls wait."""
        self._missing = num_calls
        self.was_asked, self.released = asyncio.Event(), asyncio.Event()

    async def answer(self, body: dict[str, Any]) -> Response:
        """Wait, then write."""
        self._missing -= 1
        if self._missing == 0:
            self.was_asked.set()
        await self.released.wait()
        return await RED(body)


async def ask(
    chat: Chat, *parts: str | JudgeImage, schema: type[BaseModel] = Colour, caller: Caller = ME, **options: Any
) -> Written[Any] | JudgeFailure:
    messages = [
        ChatMessage(role=Role.SYSTEM, parts=("You name colours.",)),
        ChatMessage(role=Role.USER, parts=parts or ("Which colour?",)),
    ]
    settings: dict[str, Any] = {"seed": 7, "deadline": SOON} | options
    return await chat.write(messages, schema=schema, caller=caller, **settings)


async def written(chat: Chat, *parts: str | JudgeImage, **options: Any) -> Written[Any]:
    answer = await ask(chat, *parts, **options)
    assert isinstance(answer, Written), answer
    return answer


async def failed(chat: Chat, **options: Any) -> JudgeFailure:
    answer = await ask(chat, **options)
    assert isinstance(answer, JudgeFailure)
    return answer


async def test_what_is_written_comes_with_its_shape_and_its_cost(start_chat: StartChat) -> None:
    endpoint = Endpoint()
    chat = await start_chat(endpoint, RED)
    answer = await written(chat, max_tokens=99, temperature=0.5)
    assert (answer.value, answer.cached) == (Colour(name="red"), False)
    assert replace(answer.cost, queue_seconds=0.0) == Cost(judge_calls=1, prompt_tokens=700, completion_tokens=1)
    [body] = endpoint.bodies
    assert (body["seed"], body["max_tokens"], body["temperature"]) == (7, 99, 0.5)


async def test_what_was_written_is_remembered_and_costs_nothing(start_chat: StartChat) -> None:
    endpoint = Endpoint()
    chat = await start_chat(endpoint, in_turn(RED, BLUE))
    await ask(chat)
    answer = await written(chat)
    assert (answer.value.name, answer.cached, answer.cost) == ("red", True, Cost(cached_answers=1))
    assert len(endpoint.bodies) == 1


async def test_what_was_written_survives_the_process(start_chat: StartChat, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}"
    names = []
    for script in (RED, BLUE):
        database = await Database.open(url)
        chat = await start_chat(Endpoint(), script, cache=DatabaseChatCache(database))
        names.append((await written(chat)).value.name)
        await database.close()
    assert names == ["red", "red"]


async def test_equal_requests_at_the_same_time_share_one_call(start_chat: StartChat) -> None:
    endpoint, held = Endpoint(), Held()
    chat = await start_chat(endpoint, held.answer)
    asking = [asyncio.create_task(written(chat)) for _ in range(3)]
    await held.was_asked.wait()
    held.released.set()
    answers = await asyncio.gather(*asking)
    assert [answer.value.name for answer in answers] == ["red"] * 3
    assert sorted(answer.cost.judge_calls for answer in answers) == [0, 0, 1]
    assert len(endpoint.bodies) == 1


async def test_who_leaves_does_not_disturb_those_who_wait_for_the_same(start_chat: StartChat) -> None:
    endpoint, held = Endpoint(), Held()
    chat = await start_chat(endpoint, held.answer)
    first, second = (asyncio.create_task(written(chat)) for _ in range(2))
    await held.was_asked.wait()
    first.cancel()
    held.released.set()
    assert (await second).value.name == "red"
    assert len(endpoint.bodies) == 1


async def test_a_deadline_ends_the_waiting(
    start_chat: StartChat, stall: Callable[[dict[str, Any]], Awaitable[Response]]
) -> None:
    chat = await start_chat(Endpoint(), stall)
    failure = await failed(chat, deadline=timedelta(milliseconds=50))
    assert (failure.type, failure.cost.judge_calls) == (FailureType.JUDGE_TIMEOUT, 1)
    assert failure.detail == "nothing was written within the deadline of 0.05 s"


async def test_a_malformed_answer_is_asked_for_again_with_another_seed(start_chat: StartChat) -> None:
    seeds = []
    for _ in range(2):  # the second time is a replay on another machine
        endpoint = Endpoint()
        chat = await start_chat(endpoint, in_turn(writing('{"name": 1}'), writing("{}"), RED))
        endpoint.json_formats = ()
        answer = await written(chat)
        assert (answer.value.name, answer.cost.judge_calls) == ("red", 3)
        assert (await written(chat)).cached
        seeds.append([body["seed"] for body in endpoint.bodies])
        assert [body["temperature"] for body in endpoint.bodies] == [0.0, 0.5, 0.5]
    assert seeds[0] == seeds[1]
    assert seeds[0][0] == 7
    assert len(set(seeds[0])) == 3
    assert all(0 <= seed < 2**31 for seed in seeds[0])


def with_room_for(needed: int, *, most: int) -> Script:
    """A model that needs so many tokens, thoughts included, on a server that takes no more than `most`."""

    async def answer(body: dict[str, Any]) -> Response:
        if body["max_tokens"] > most:
            return await answering({"error": {"message": "too long", "param": "max_tokens"}}, status=400)(body)
        return await (RED if body["max_tokens"] >= needed else writing("", finish_reason="length"))(body)

    return answer


async def test_an_answer_that_was_cut_off_gets_more_room(start_chat: StartChat) -> None:
    endpoint = Endpoint()
    chat = await start_chat(endpoint, with_room_for(5000, most=10_000))
    answer = await written(chat, max_tokens=2048)
    assert (answer.value.name, answer.cost.judge_calls) == ("red", 2)
    assert [body["max_tokens"] for body in endpoint.bodies] == [2048, 8192]
    assert (await written(chat, max_tokens=2048)).cached


async def test_where_there_is_no_more_room_the_answer_stays_cut_off(start_chat: StartChat) -> None:
    failure = await failed(await start_chat(Endpoint(), with_room_for(5000, most=4096)), max_tokens=2048)
    assert (failure.type, failure.detail) == (
        FailureType.JUDGE_MALFORMED,
        "the model that writes cannot be understood: its answer was cut off",
    )


async def test_three_malformed_answers_are_a_failure_that_is_not_remembered(start_chat: StartChat) -> None:
    endpoint = Endpoint()
    chat = await start_chat(endpoint, writing("red"))
    failure = await failed(chat)
    assert (failure.type, failure.cost.judge_calls) == (FailureType.JUDGE_MALFORMED, 3)
    assert failure.detail.startswith("the model that writes cannot be understood")
    endpoint.script = RED
    assert not (await written(chat)).cached


async def test_a_server_that_is_busy_is_asked_again_when_it_says(start_chat: StartChat) -> None:
    busy = answering({"error": {"message": "busy"}}, status=429, retry_after=0)
    chat = await start_chat(Endpoint(), in_turn(busy, RED))
    answer = await written(chat)
    assert (answer.value.name, answer.cost.judge_calls) == ("red", 2)


async def test_nobody_waits_for_a_busy_server_beyond_the_deadline(start_chat: StartChat) -> None:
    busy = answering({"error": {"message": "busy"}}, status=429, retry_after=7)
    chat = await start_chat(Endpoint(), in_turn(busy, RED))
    failure = await failed(chat, deadline=timedelta(seconds=5))
    assert (failure.type, failure.cost.judge_calls) == (FailureType.JUDGE_OVERLOADED, 1)


async def test_a_refusal_is_not_argued_with(start_chat: StartChat) -> None:
    endpoint = Endpoint()
    chat = await start_chat(endpoint, writing("", message={"content": None, "refusal": "No."}))
    failure = await failed(chat)
    assert (failure.type, len(endpoint.bodies)) == (FailureType.JUDGE_REFUSED, 1)
    assert failure.detail == "the model that writes refused to answer"


async def test_a_server_that_breaks_down_is_a_failure_after_a_few_attempts(start_chat: StartChat) -> None:
    endpoint = Endpoint()
    chat = await start_chat(endpoint, answering({}, status=500, retry_after=0))
    failure = await failed(chat)
    assert (failure.type, failure.cost.judge_calls) == (FailureType.JUDGE_UNAVAILABLE, len(endpoint.bodies))
    assert 1 <= len(endpoint.bodies) <= LIMITS.attempts


async def test_who_has_not_been_reached_fails_at_once(start_chat: StartChat) -> None:
    replicas = replicas_of(Endpoint())
    chat = Chat(replicas, cache=MemoryChatCache())
    with pytest.raises(ChatNotStartedError):
        _ = chat.identity
    assert chat.problem() is not None
    assert (await failed(chat)).type is FailureType.JUDGE_UNAVAILABLE
    await replicas.aclose()


async def test_tenants_share_nothing(start_chat: StartChat) -> None:
    endpoint = Endpoint()
    chat = await start_chat(endpoint, RED)
    for scope in ("one", "two"):
        assert not (await written(chat, caller=Caller(cache_scope=scope))).cached
    assert len(endpoint.bodies) == 2


async def test_an_image_is_known_by_what_it_shows(
    start_chat: StartChat, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    chat = await start_chat(Endpoint(), RED)
    await ask(chat, "Which?", red_circle)
    assert (await written(chat, "Which?", replace(red_circle, png=b"the same pixels, packed in another way"))).cached
    assert not (await written(chat, "Which?", blue_square)).cached
    assert not (await written(chat, "Which?", red_circle.digest)).cached


async def test_an_answer_that_a_stricter_shape_would_not_take_is_asked_for_again(start_chat: StartChat) -> None:
    class OfAnOlderVersion(MemoryChatCache):
        async def put(self, key: str, answer: ChatAnswer) -> ChatAnswer:
            return await super().put(key, replace(answer, text='{"name": null}'))

    endpoint = Endpoint()
    chat = await start_chat(endpoint, RED, cache=OfAnOlderVersion())
    assert [(await written(chat)).value.name for _ in range(2)] == ["red", "red"]
    assert len(endpoint.bodies) == 2


async def test_identity_is_all_that_can_change_an_answer(start_chat: StartChat) -> None:
    one, same, other = [
        (await start_chat(endpoint, RED)).identity for endpoint in (Endpoint(), Endpoint(), Endpoint(takes_seed=False))
    ]
    assert one.model == "foreign"
    assert one == same
    assert one.model == other.model
    assert one.fingerprint != other.fingerprint


async def test_a_judge_that_writes_answers_verdicts_meanwhile(
    start_judge: Callable[..., Awaitable[Judge]],
    red_circle: JudgeImage,
    blue_square: JudgeImage,
    rubric: RubricContent,
) -> None:
    endpoint = Endpoint()
    judge = await start_judge(endpoint.app, limits=JudgeLimits(max_window=4))
    verdict_on, held = answering(completion(top=[("1", -0.3), ("2", -2.0)])), Held(num_calls=2)

    async def answer(body: dict[str, Any]) -> Response:
        return await (held.answer if "response_format" in body else verdict_on)(body)

    endpoint.bodies.clear()
    endpoint.script = answer
    chat = Chat(judge.replica_set, cache=MemoryChatCache())
    asking = [asyncio.create_task(written(chat, f"Which is number {number}?")) for number in range(8)]
    await held.was_asked.wait()
    question = PairQuestion(prompt="a red circle", first=red_circle, second=blue_square, source=None, rubric=rubric)
    [verdict] = await judge.compare([question], deadline=SOON)
    assert isinstance(verdict, PairAnswer)
    assert sum("response_format" in body for body in endpoint.bodies) == 2  # half of the window
    held.released.set()
    assert [answer.value.name for answer in await asyncio.gather(*asking)] == ["red"] * 8
