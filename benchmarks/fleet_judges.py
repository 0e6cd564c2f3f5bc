"""Judges that exist on paper: servers that batch, queue, refuse, fail and die, in the time of the event loop.

Owns the queueing behaviour of a GPU that reads prompts. Refuses to judge: every answer prefers the image shown first.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from random import Random

from services.judging.answers import LabelAnswer
from services.judging.backend import BackendError, BackendIdentity, OpenAIBackend, ServedModel, ServerLoad
from services.judging.prompts import JudgePrompt
from shared_schemas.problems import FailureType

_IDENTITY = BackendIdentity(model="paper", server_version="1", style="paper", revision="")
_SERVED = ServedModel(model=_IDENTITY.model, server_version=_IDENTITY.server_version, revision=_IDENTITY.revision)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerShape:
    """How one server behaves."""

    tokens_per_second: float
    """That it reads."""
    step_seconds: float
    """Of one step of its engine besides reading."""
    way_seconds: float
    """To the server and back, and all that is not reading."""
    max_step_tokens: int
    """Read in one step (vLLM's `--max-num-batched-tokens`)."""
    max_waiting: int
    """Calls that it lets wait; one more is answered 429."""
    fresh_tokens: float
    """Of a call whose rubric it has read."""
    whole_tokens: float
    """Of one whose rubric is new to it."""
    error_rate: float = 0.0
    """Share of the calls that end in HTTP 500."""
    jitter: float = 0.1
    """Steps take up to this share longer or shorter."""

    @property
    def calls_per_second(self) -> float:
        """Of one server that only reads, and always."""
        return self.tokens_per_second / self.fresh_tokens


@dataclass(eq=False, slots=True)
class _Waiting:
    tokens: float
    answer: "asyncio.Future[None]"


@dataclass(eq=False, kw_only=True, slots=True)
class Server:
    """One GPU: takes what waits, up to a step's worth, and answers all of it together."""

    shape: ServerShape
    random: Random
    is_up: bool = True
    num_answered: int = 0
    _queue: deque[_Waiting] = field(default_factory=deque)
    _step: list[_Waiting] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def load(self) -> ServerLoad:
        """As its metrics would say."""
        return ServerLoad(running=len(self._step), waiting=len(self._queue))

    async def answer(self, rubric: str) -> None:
        """Return when one call has been read. Raises `BackendError`."""
        await asyncio.sleep(self.shape.way_seconds)
        self.check_up()
        if len(self._queue) >= self.shape.max_waiting:
            raise BackendError(FailureType.JUDGE_OVERLOADED, "too many wait", status=HTTPStatus.TOO_MANY_REQUESTS)
        tokens = self.shape.fresh_tokens if rubric in self._known else self.shape.whole_tokens
        waiting = _Waiting(tokens, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._came.set()
        await waiting.answer

    def check_up(self) -> None:
        """Raise what a refused connection is, unless it is up."""
        if not self.is_up:
            raise BackendError(FailureType.JUDGE_UNAVAILABLE, "nobody listens there")

    def knows(self, rubric: str) -> None:
        """It has read this one."""
        self._known.add(rubric)

    def die(self) -> None:
        """Take everything along that it was working on, and what it had read."""
        self.is_up = False
        for waiting in (*self._step, *self._queue):
            if not waiting.answer.done():
                waiting.answer.set_exception(BackendError(FailureType.JUDGE_UNAVAILABLE, "it broke the connection off"))
        self._queue.clear()
        self._step.clear()
        self._known.clear()

    def come_back(self) -> None:
        """It is there again."""
        self.is_up = True

    async def work(self) -> None:
        """Step after step, until it is cancelled."""
        shape = self.shape
        while True:
            await self._came.wait()
            self._step = self._next_step()
            if not self._step:
                self._came.clear()
                continue
            tokens = sum(waiting.tokens for waiting in self._step)
            usual = shape.step_seconds + tokens / shape.tokens_per_second
            await asyncio.sleep(usual * self.random.uniform(1 - shape.jitter, 1 + shape.jitter))
            for waiting in self._step:
                self._end(waiting)
            self._step = []

    def _next_step(self) -> list[_Waiting]:
        step: list[_Waiting] = []
        tokens = 0.0
        while self._queue and (not step or tokens + self._queue[0].tokens <= self.shape.max_step_tokens):
            waiting = self._queue.popleft()
            if not waiting.answer.done():  # else its sender has left
                step.append(waiting)
                tokens += waiting.tokens
        return step

    def _end(self, waiting: _Waiting) -> None:
        if waiting.answer.done():
            return
        if self.random.random() < self.shape.error_rate:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            waiting.answer.set_exception(BackendError(FailureType.JUDGE_UNAVAILABLE, "HTTP 500", status=status))
            return
        self.num_answered += 1
        waiting.answer.set_result(None)


class PaperBackend(OpenAIBackend):
    """What the scheduler knows of a `Server`: the same calls as of a real one, and no wire."""

    def __init__(self, server: Server, *, name: str) -> None:
        self._server = server
        self._name = name

    @property
    def name(self) -> str:
        """For messages."""
        return self._name

    async def probe(self, *, within: timedelta) -> BackendIdentity:
        """Who it is. Raises `BackendError` while it is away."""
        del within
        self._server.check_up()
        return _IDENTITY

    async def try_out(self, *, within: timedelta) -> None:
        """Likewise."""
        del within
        self._server.check_up()

    async def identify(self, *, within: timedelta) -> ServedModel:
        """Likewise."""
        del within
        self._server.check_up()
        return _SERVED

    async def ask(self, prompt: JudgePrompt, *, within: timedelta, priority: int = 0) -> LabelAnswer:
        """Wait as long as it takes. Raises `BackendError`."""
        del priority
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._server.answer(prompt.system)
        except TimeoutError:
            raise BackendError(FailureType.JUDGE_TIMEOUT, "no answer in time") from None
        self._server.knows(prompt.system)
        tokens = round(self._server.shape.whole_tokens)
        return LabelAnswer(
            log_p_first=-0.5, log_p_second=-1.5, label_mass=0.9, prompt_tokens=tokens, completion_tokens=1
        )

    async def load(self, *, within: timedelta) -> ServerLoad | None:
        """As its metrics would say. Raises `BackendError` while it is away."""
        del within
        self._server.check_up()
        return self._server.load

    async def aclose(self) -> None:
        """There is nothing to close."""
