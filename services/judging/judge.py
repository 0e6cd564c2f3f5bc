"""The judge: questions about images in, verdicts or typed failures out.

Owns which prompts a question becomes, in which orders a pair is asked, and the deadline. Refuses to know about rewards,
ties and HTTP of our own service; asking one prompt is `answering`, where and when is `scheduling`.

The one rule: a judge's fault never raises and never becomes a number; whatever is not answered by the deadline is
`judge-timeout`.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from services.judging.answering import Answering, Ask, AskLimits, Lookup, Reply
from services.judging.answers import Answer, ChoiceAnswer, LabelAnswer
from services.judging.backend import OpenAIBackend
from services.judging.cache import VerdictCache
from services.judging.callers import Caller
from services.judging.fingerprint import fingerprint_of
from services.judging.keys import judgement_key
from services.judging.observer import AnswerSource, JudgeObserver, NullObserver
from services.judging.prompts import JudgePrompt, Part, criterion_prompt, pair_prompt
from services.judging.questions import (
    FIRST_SECOND,
    SECOND_FIRST,
    Asked,
    Cost,
    ImageAnswer,
    ImageQuestion,
    JudgeFailure,
    PairAnswer,
    PairQuestion,
)
from services.judging.scheduling.replica_set import ReplicaSet, ReplicaState
from services.judging.scheduling.scheduler import Bundle, Prefix
from services.judging.verdicts import join_answers, p_yes
from shared_schemas.problems import FailureType
from shared_schemas.reward import JudgeIdentity, Orders

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")

_PORTION = 16
"""Questions that are prepared without a pause, or given up together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeLimits:
    """How hard the judge may be pressed, and when its answer counts."""

    max_window: int = 256
    """Most calls in flight at one replica."""
    ask: AskLimits = field(default_factory=AskLimits)
    """Of a single question."""
    patience: timedelta = timedelta(seconds=5)
    """How long calls wait for a judge that is gone before they are `judge-unavailable`."""
    position_bias_bound: float | None = None
    """Nats that the position bias hardly ever exceeds; adaptive orders ask both while it is not known."""


class JudgeNotStartedError(RuntimeError):
    """`start()` has not succeeded yet."""


@dataclass(kw_only=True, slots=True)
class _Question:
    """One pair or image under way: its prompts by name, and the tasks that get them answered."""

    names: tuple[str, ...]
    asks: tuple[Ask, ...]
    tasks: "list[asyncio.Task[Reply | None]]" = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sender:
    """What all questions of one request have in common."""

    caller: Caller
    fingerprint: str
    """The judge that is asked, from the first of them to the last."""
    deadline: float
    """Time of the event loop, seconds."""


Outcome: TypeAlias = tuple[tuple[Asked, ...], Cost, JudgeFailure | None]


class Judge:
    """Judges over one or more replicas of one model. `start()` first, `aclose()` at the end."""

    def __init__(
        self,
        backends: Sequence[OpenAIBackend],
        *,
        cache: VerdictCache,
        limits: JudgeLimits | None = None,
        observer: JudgeObserver | None = None,
    ) -> None:
        self._limits = limits or JudgeLimits()
        observer = observer or NullObserver()
        self._replicas = ReplicaSet(
            backends,
            max_window=self._limits.max_window,
            probe_within=self._limits.ask.call_timeout,
            patience=self._limits.patience,
            observer=observer,
        )
        self._answering = Answering(self._replicas.scheduler, cache=cache, limits=self._limits.ask, observer=observer)

    @property
    def identity(self) -> JudgeIdentity:
        """Who judges now. Raises `JudgeNotStartedError` before `start()` has succeeded."""
        judge = self._replicas.judge
        if judge is None:
            raise JudgeNotStartedError("the judge has not been started")
        return JudgeIdentity(model=judge.model, fingerprint=fingerprint_of(judge))

    @property
    def backend(self) -> OpenAIBackend:
        """A replica that is there: for questions about the judge itself."""
        return self._replicas.backend

    @property
    def replica_set(self) -> ReplicaSet:
        """Its servers, for others who ask them something and take their turn."""
        return self._replicas

    @property
    def num_changes(self) -> int:
        """How often another judge was found behind the same URLs."""
        return self._replicas.num_changes

    @property
    def num_queued_calls(self) -> int:
        """Calls that wait for a slot."""
        return self._replicas.scheduler.num_queued_calls

    def replicas(self) -> list[ReplicaState]:
        """Every replica at this moment."""
        return self._replicas.states()

    def problem(self) -> str | None:
        """None when the judge can be asked, else what is wrong; costs no call."""
        return self._replicas.problem()

    def seconds_until_done(self, caller: Caller, num_calls: int, *, on_the_way: int = 0) -> float:
        """How long `num_calls` new calls of this caller would take from now; 0 while that is not known.

        `on_the_way` calls that are not queued yet will be served before them.
        """
        return self._replicas.scheduler.seconds_until_done(caller, num_calls, on_the_way=on_the_way)

    async def start(self) -> JudgeIdentity:
        """Find out who judges and how to ask. Raises `BackendError`; may be called again after that."""
        await self._replicas.start()
        return self.identity

    async def check(self) -> str | None:
        """Look at every replica now: None when one can be asked, else what is wrong; costs no judgement."""
        return await self._replicas.check()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._replicas.aclose()

    async def compare(
        self,
        questions: Sequence[PairQuestion],
        *,
        deadline: timedelta,
        use_cache: bool = True,
        orders: Orders = Orders.BOTH,
        tie_margin: float = 0.0,
        caller: Caller | None = None,
    ) -> list[PairAnswer | JudgeFailure]:
        """Answer every question, in the same order; with `orders=both`, both are asked at the same time.

        `adaptive` asks the other order too when the first is not clearer than the bias bound and `tie_margin` (nats)
        together. `use_cache=False` neither reads nor writes stored answers and shares no call with others. Raises
        `JudgeNotStartedError`, `ValueError` for a question with a source image or exemplars that its rubric does not
        want, or without those it wants, and what the cache raises; never for the judge's fault. Cancelling it cancels
        the calls that nobody else waits for.
        """
        sender = self._sender(caller, deadline)

        async def ask(some: Sequence[PairQuestion]) -> list[PairAnswer | JudgeFailure]:
            work = [_pair_question(question, sender) for question in some]
            lookup = self._look_up(work) if use_cache else None
            for question, pair in zip(some, work, strict=True):
                num_first = 1 if (lookup is None and _are_equal(question)) or _asks_one_order(question, orders) else 2
                pair.tasks = [asyncio.create_task(self._answer(ask, lookup)) for ask in pair.asks[:num_first]]
                if num_first == 1 and _are_equal(question):
                    pair.tasks.append(asyncio.create_task(_same_answer(pair.tasks[0])))
                elif num_first == 1 and orders is Orders.ADAPTIVE:
                    pair.tasks.append(asyncio.create_task(self._if_in_doubt(pair, tie_margin, use_cache=use_cache)))
            await _end_by(sender.deadline, [task for pair in work for task in pair.tasks])
            return [_pair_answer(*_outcome(pair, deadline)) for pair in work]

        return await _in_portions(questions, ask)

    async def rate(
        self,
        questions: Sequence[ImageQuestion],
        *,
        deadline: timedelta,
        use_cache: bool = True,
        caller: Caller | None = None,
    ) -> list[ImageAnswer | JudgeFailure]:
        """Ask for each image whether it meets each criterion of its rubric; one failure fails the image.

        Raises like `compare`, and `ValueError` for a rubric without criteria. A judge without log-probabilities cannot
        say how well: `judge-lacks-log-probs`.
        """
        sender = self._sender(caller, deadline)

        async def ask(some: Sequence[ImageQuestion]) -> list[ImageAnswer | JudgeFailure]:
            work = [_image_question(question, sender) for question in some]
            lookup = self._look_up(work) if use_cache else None
            for image in work:
                image.tasks = [asyncio.create_task(self._answer(ask, lookup)) for ask in image.asks]
            await _end_by(sender.deadline, [task for image in work for task in image.tasks])
            return [_image_answer(*_outcome(image, deadline)) for image in work]

        return await _in_portions(questions, ask)

    def _sender(self, caller: Caller | None, deadline: timedelta) -> _Sender:
        until = _now() + deadline.total_seconds()
        return _Sender(caller=caller or Caller(), fingerprint=self.identity.fingerprint, deadline=until)

    def _look_up(self, work: Sequence[_Question]) -> Lookup:
        return self._answering.look_up([ask.key for question in work for ask in question.asks])

    async def _answer(self, ask: Ask, lookup: Lookup | None) -> Reply | None:
        return await (self._answering.ask_again(ask) if lookup is None else self._answering.ask_once(ask, lookup))

    async def _if_in_doubt(self, pair: _Question, tie_margin: float, *, use_cache: bool) -> Reply | None:
        """Ask the second order unless the first is clear; None when it is, or when it failed anyway."""
        first = await asyncio.shield(pair.tasks[0])
        outcome = None if first is None else first.outcome
        if outcome is None or isinstance(outcome, JudgeFailure) or self._is_clear(outcome, tie_margin):
            return None
        ask = pair.asks[1]
        return await self._answer(ask, self._answering.look_up([ask.key]) if use_cache else None)

    def _is_clear(self, answer: Answer, tie_margin: float) -> bool:
        bound = self._limits.position_bias_bound
        return isinstance(answer, LabelAnswer) and bound is not None and abs(answer.log_odds) >= bound + tie_margin


def _pair_question(question: PairQuestion, sender: _Sender) -> _Question:
    """Both orders, the one to begin with in front."""
    images = {FIRST_SECOND: (question.first, question.second), SECOND_FIRST: (question.second, question.first)}
    names = (FIRST_SECOND, SECOND_FIRST) if _first_goes_first(question) else (SECOND_FIRST, FIRST_SECOND)
    prompts = [
        pair_prompt(
            question.prompt, *images[name], source=question.source, rubric=question.rubric, guide=question.guide
        )
        for name in names
    ]
    return _question(names, prompts, sender, at_once=2)


def _image_question(question: ImageQuestion, sender: _Sender) -> _Question:
    if not question.rubric.criteria:
        raise ValueError("a rubric set without criteria cannot score an image")
    prompts = [
        criterion_prompt(
            question.prompt, question.image, source=question.source, criterion=criterion, rubric=question.rubric
        )
        for criterion in question.rubric.criteria
    ]
    return _question(tuple(criterion.id for criterion in question.rubric.criteria), prompts, sender, at_once=1)


def _question(names: tuple[str, ...], prompts: Sequence[JudgePrompt], sender: _Sender, *, at_once: int) -> _Question:
    caller, fingerprint = sender.caller, sender.fingerprint
    bundle = Bundle(caller=caller, fingerprint=fingerprint, at_once=at_once, prefix=_shared_prefix(prompts[0]))
    keys = [judgement_key(fingerprint, prompt, scope=caller.cache_scope) for prompt in prompts]
    asks = [
        Ask(key=key, prompt=prompt, bundle=bundle, deadline=sender.deadline)
        for key, prompt in zip(keys, prompts, strict=True)
    ]
    return _Question(names=names, asks=tuple(asks))


async def _same_answer(first: "asyncio.Task[Reply | None]") -> Reply | None:
    """The answer to the same prompt once more, at no cost."""
    reply = await asyncio.shield(first)
    return reply and Reply(outcome=reply.outcome, source=AnswerSource.JOINED)


async def _in_portions(
    questions: Sequence[QuestionT], ask: Callable[[Sequence[QuestionT]], Coroutine[Any, Any, list[AnswerT]]]
) -> list[AnswerT]:
    """Begin with so many at a time, so that other requests go in between; the answers in order."""
    portions: list[asyncio.Task[list[AnswerT]]] = []
    try:
        for start in range(0, len(questions), _PORTION):
            portions.append(asyncio.create_task(ask(questions[start : start + _PORTION])))
            await asyncio.sleep(0)
        return [answer for answers in await asyncio.gather(*portions) for answer in answers]
    finally:
        for portion in portions:
            portion.cancel()
        await asyncio.gather(*portions, return_exceptions=True)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _asks_one_order(question: PairQuestion, orders: Orders) -> bool:
    """Two equal images always need both orders: in one, whatever the judge prefers is its bias."""
    return orders is not Orders.BOTH and not _are_equal(question)


def _are_equal(question: PairQuestion) -> bool:
    """Then both orders are one prompt, and one answer to it serves both."""
    return question.first.digest == question.second.digest


def _first_goes_first(question: PairQuestion) -> bool:
    """Which order is asked first: decided by the digest of the unordered pair, so that swapping swaps everything."""
    smaller, larger = sorted((question.first.digest, question.second.digest))
    smaller_first = hashlib.sha256(f"{smaller}{larger}".encode()).digest()[0] % 2 == 0
    return smaller_first == (question.first.digest == smaller)


def _shared_prefix(prompt: JudgePrompt) -> Prefix:
    parts: tuple[Part, ...] = (prompt.system, *prompt.parts[: prompt.num_shared_parts])
    texts = [part if isinstance(part, str) else part.digest for part in parts]
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    has_image = any(not isinstance(part, str) for part in parts)
    return Prefix(digest=digest, num_chars=sum(map(len, texts)), has_image=has_image)


async def _end_by(until: float, tasks: "Sequence[asyncio.Task[Reply | None]]") -> None:
    """Wait for every task until that time of the loop, then cancel what is left. Raises what a task raises."""
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, timeout=max(0.0, until - _now()), return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:  # one by one: giving up a call takes a millisecond of the loop, and others wait
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _outcome(question: _Question, deadline: timedelta) -> Outcome:
    """What came in, what it cost, and the first failure if there was one."""
    detail = f"not judged within the deadline of {deadline.total_seconds():g} s"
    late = Reply(outcome=JudgeFailure(type=FailureType.JUDGE_TIMEOUT, detail=detail))
    replies = [late if task.cancelled() else task.result() for task in question.tasks]
    asked, failure, cost = [], None, Cost()
    for name, ask, reply in zip(question.names, question.asks, replies, strict=False):
        if reply is None:
            continue
        cost = _add(cost, reply)
        if isinstance(reply.outcome, JudgeFailure):
            failure = failure or reply.outcome
        else:
            cached = reply.source is AnswerSource.CACHE
            asked.append(Asked(key=ask.key, question=name, answer=reply.outcome, cached=cached, seconds=reply.seconds))
    return tuple(asked), cost, failure


def _add(cost: Cost, reply: Reply) -> Cost:
    answer = reply.outcome if reply.judge_calls and not isinstance(reply.outcome, JudgeFailure) else None
    return Cost(
        judge_calls=cost.judge_calls + reply.judge_calls,
        cached_answers=cost.cached_answers + (reply.source is AnswerSource.CACHE),
        prompt_tokens=cost.prompt_tokens + (answer.prompt_tokens if answer else 0),
        completion_tokens=cost.completion_tokens + (answer.completion_tokens if answer else 0),
        queue_seconds=max(cost.queue_seconds, reply.queue_seconds),
    )


def _pair_answer(asked: tuple[Asked, ...], cost: Cost, failure: JudgeFailure | None) -> PairAnswer | JudgeFailure:
    if failure is not None:
        return replace(failure, asked=asked, cost=cost)
    by_order = {one.question: one.answer for one in asked}
    verdict = join_answers(by_order.get(FIRST_SECOND), by_order.get(SECOND_FIRST))
    return PairAnswer(verdict=verdict, asked=asked, cost=cost)


def _image_answer(asked: tuple[Asked, ...], cost: Cost, failure: JudgeFailure | None) -> ImageAnswer | JudgeFailure:
    if failure is not None:
        return replace(failure, asked=asked, cost=cost)
    scores, masses = {}, []
    for one in asked:
        if isinstance(one.answer, ChoiceAnswer):
            detail = "the judge gives no log-probabilities, so it cannot say how well an image meets a criterion"
            return JudgeFailure(type=FailureType.JUDGE_LACKS_LOG_PROBS, detail=detail, asked=asked, cost=cost)
        scores[one.question] = p_yes(one.answer)
        masses.append(one.answer.label_mass)
    return ImageAnswer(scores=scores, label_mass=min(masses), asked=asked, cost=cost)
