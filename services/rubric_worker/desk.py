"""Where a job's questions go out and answers come in: bounded, paid for by the job, patient with a server in trouble.

Owns how many questions are under way, and how long is waited for a judge, or for the model that writes, that is gone.
Refuses to know what is asked, and retries no single call: `services.judging` does.

The one rule: a question that cannot be answered is a `JudgeFailure` among the answers, in its place; only a server that
stays away ends the job.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from services.judging.callers import CallClass, Caller
from services.judging.chat import Chat, ChatIdentity, Written
from services.judging.chat_messages import ChatMessage
from services.judging.judge import Judge
from services.judging.questions import Cost, ImageAnswer, ImageQuestion, JudgeFailure, PairAnswer, PairQuestion
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.running_job import RunningJob
from services.rubric_worker.together import each
from shared_schemas.reward import JudgeIdentity

ItemT = TypeVar("ItemT")
ServerT = TypeVar("ServerT")
SchemaT = TypeVar("SchemaT", bound=BaseModel)
AnswerT = TypeVar("AnswerT", bound="_Paid")

JUDGE_UNAVAILABLE = "judge-unavailable"
CHAT_UNAVAILABLE = "chat-unavailable"
"""Why a job ends whose server stays away."""


class _Paid(Protocol):
    @property
    def cost(self) -> Cost:
        """What it took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeskLimits:
    """How a job asks."""

    at_once: int = 32
    """Questions under way together; the scheduler decides how many of them reach the judge."""
    deadline: timedelta = timedelta(seconds=120)
    """Longest wait for one answer of the judge, queueing included."""
    writing_deadline: timedelta = timedelta(minutes=5)
    """Longest wait for one text."""
    patience: timedelta = timedelta(minutes=10)
    """A server that has answered nothing for so long ends the job as `judge-unavailable` or `chat-unavailable`."""
    pause: timedelta = timedelta(seconds=2)
    """Before a question is asked again that found nobody."""
    attempts: int = 3
    """Of a question that finds nobody while others find somebody: after that it has failed."""


class Desk:
    """Asks on behalf of one job. `judge_of` and `chat_of` give the servers, or None while there is none."""

    def __init__(
        self,
        job: RunningJob,
        judge_of: Callable[[], Judge | None],
        *,
        call_class: CallClass,
        chat_of: Callable[[], Chat | None] = lambda: None,
        cache_scope: str | None = None,
        limits: DeskLimits | None = None,
    ) -> None:
        """`cache_scope` is where answers are remembered: none = with those of the job's tenant."""
        self._limits = limits or DeskLimits()
        self._judge = _Line(judge_of, job, self._limits, absence=JUDGE_UNAVAILABLE, name="the judge")
        self._chat = _Line(chat_of, job, self._limits, absence=CHAT_UNAVAILABLE, name="the model that writes")
        scope = job.tenant if cache_scope is None else cache_scope
        self.caller = Caller(tenant=job.tenant, run=f"job-{job.id}", call_class=call_class, cache_scope=scope)
        """As whom the judge is asked."""

    async def judge(self) -> JudgeIdentity:
        """Who judges now. Raises `JobFailedError` (`judge-unavailable`) when nobody comes."""
        return (await self._judge.server()).identity

    async def writer(self) -> ChatIdentity:
        """Who writes now. Raises `JobFailedError` (`chat-unavailable`) when nobody comes."""
        return (await self._chat.server()).identity

    async def compare(
        self, questions: Sequence[PairQuestion], *, use_cache: bool = True, on_done: Callable[[], None] | None = None
    ) -> list[PairAnswer | JudgeFailure]:
        """Ask each pair in both orders; the answers in the same order. `on_done` is called after each.

        Raises `JobFailedError` (`judge-unavailable`).
        """

        async def ask(judge: Judge, question: PairQuestion) -> PairAnswer | JudgeFailure:
            [answer] = await judge.compare(
                [question], deadline=self._limits.deadline, use_cache=use_cache, caller=self.caller
            )
            return answer

        return await self._judge.ask_all(questions, ask, on_done)

    async def rate(
        self, questions: Sequence[ImageQuestion], *, use_cache: bool = True, on_done: Callable[[], None] | None = None
    ) -> list[ImageAnswer | JudgeFailure]:
        """Ask each image about each criterion of its rubric; like `compare`."""

        async def ask(judge: Judge, question: ImageQuestion) -> ImageAnswer | JudgeFailure:
            [answer] = await judge.rate(
                [question], deadline=self._limits.deadline, use_cache=use_cache, caller=self.caller
            )
            return answer

        return await self._judge.ask_all(questions, ask, on_done)

    async def write(
        self, messages: Sequence[ChatMessage], *, schema: type[SchemaT], seed: int, max_tokens: int = 2048
    ) -> Written[SchemaT] | JudgeFailure:
        """Have a text of this shape written; the same for the same messages and seed.

        Raises `JobFailedError` (`chat-unavailable`).
        """

        async def ask(chat: Chat, messages: Sequence[ChatMessage]) -> Written[SchemaT] | JudgeFailure:
            return await chat.write(
                messages,
                schema=schema,
                seed=seed,
                deadline=self._limits.writing_deadline,
                caller=self.caller,
                max_tokens=max_tokens,
            )

        [written] = await self._chat.ask_all([messages], ask, None)
        return written


class _Line(Generic[ServerT]):
    """The line to one server: how many wait in it, and when it was last answered."""

    def __init__(
        self, server_of: Callable[[], ServerT | None], job: RunningJob, limits: DeskLimits, *, absence: str, name: str
    ) -> None:
        self._server_of = server_of
        self._job = job
        self._limits = limits
        self._absence = absence
        self._name = name
        self._slots = asyncio.Semaphore(limits.at_once)
        self._answered_at = -math.inf
        """Time of the event loop, seconds."""

    async def server(self) -> ServerT:
        """Whoever is at the other end, as soon as somebody is. Raises `JobFailedError`."""
        begun = _now()
        while (server := self._server_of()) is None:
            await self._pause_since(begun)
        return server

    async def ask_all(
        self,
        items: Sequence[ItemT],
        ask: Callable[[ServerT, ItemT], Awaitable[AnswerT | JudgeFailure]],
        on_done: Callable[[], None] | None,
    ) -> list[AnswerT | JudgeFailure]:
        """One answer for each item, in their order."""

        async def one(item: ItemT) -> AnswerT | JudgeFailure:
            async with self._slots:
                answer = await self._patiently(item, ask)
            if on_done is not None:
                on_done()
            return answer

        return await each(items, one, at_once=self._limits.at_once)

    async def _patiently(
        self, item: ItemT, ask: Callable[[ServerT, ItemT], Awaitable[AnswerT | JudgeFailure]]
    ) -> AnswerT | JudgeFailure:
        """Ask until there is an answer, or a failure that is the question's own."""
        begun, num_attempts = _now(), 0
        while True:
            server = self._server_of()
            if server is not None:
                num_attempts += 1
                answer = await ask(server, item)
                cost = answer.cost
                self._job.spend(judge_calls=cost.judge_calls, tokens=cost.prompt_tokens + cost.completion_tokens)
                if not isinstance(answer, JudgeFailure) or not answer.type.is_retryable:
                    self._answered_at = _now()
                    return answer
                if self._answered_at > begun and num_attempts >= self._limits.attempts:
                    return answer
            await self._pause_since(begun)

    async def _pause_since(self, begun: float) -> None:
        """Wait a little for whoever is not there; `begun` is when that began. Raises `JobFailedError`."""
        patience = self._limits.patience.total_seconds()
        if _now() - max(begun, self._answered_at) >= patience:
            raise JobFailedError(
                self._absence,
                f"{self._name} has not answered anything for {patience:g} s; ask again when it does: what it has "
                "answered so far is remembered",
            )
        await asyncio.sleep(self._limits.pause.total_seconds())


def _now() -> float:
    """Of the event loop, seconds."""
    return asyncio.get_running_loop().time()
