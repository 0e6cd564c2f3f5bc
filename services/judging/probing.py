"""Finding out how a judge can be asked.

Owns the climb down the `ladder`, one real question per way; refuses to look at what the judge answers, only at whether
it can be read. One pair question stands for all questions: a yes/no question differs in nothing but its labels, and
these are known to be single tokens of the judge's own where that matters.

The one rule: a server that is away or busy says nothing about what it can do. That raises, and is tried again later.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus

import httpx2
import openai
from pydantic import BaseModel, ValidationError

from services.judging.answers import LabelAnswer
from services.judging.asking import Delivery, Way, ask
from services.judging.connection import JudgeConnection
from services.judging.failures import BackendError, CutOffError, parameter_blamed
from services.judging.label_logprobs import LabelTokens, spellings
from services.judging.ladder import Capability, Ladder, Style
from services.judging.probe_question import probe_question
from services.judging.prompts import PAIR_LABELS, YES_NO_LABELS, Labels
from services.judging.served_model import ModelDirectory
from shared_schemas.problems import FailureType

_log = logging.getLogger(__name__)

_KEPT_OUT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

_LATER = 1
"""A priority other than 0, to see whether it is refused."""

_WORDS_LOGGED = 300
"""Characters of a refusal's body in the log, at start-up only, when the question is our own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failed:
    """A way that did not work."""

    style: Style
    error: BackendError


class _Tokens(BaseModel):
    tokens: list[int]


async def find_way(connection: JudgeConnection, directory: ModelDirectory, *, model: str, within: timedelta) -> Way:
    """Find the most telling way to ask `model`, with at most 2 · `MOST_TRIALS` + 1 questions, as a rule one or two.

    `within` bounds each call. Raises `BackendError`: a passing one when the server is away or busy, `judge-unavailable`
    when it keeps us out or fails whatever it is asked, `judge-refused` when there is no such model or no way of asking
    it takes, `judge-malformed` when it can be asked but neither gives log-probabilities nor writes JSON.
    """
    tokens = await _label_tokens(connection, model=model, within=within)
    ladder, failed = Ladder(has_label_tokens=bool(tokens)), list[_Failed]()
    for style in ladder:
        way = Way(model=model, style=style, label_tokens=tokens)
        try:
            label_mass = await _trial(connection, way, within=within)
        except BackendError as error:
            if error.is_passing or error.status in _KEPT_OUT:
                raise
            if error.status == HTTPStatus.NOT_FOUND:
                raise not_there(error, model=model, listed=directory.listed) from error
            _learn(ladder, style, error)
            failed.append(_Failed(style=style, error=error))
            continue
        _log.info("judge found", extra={"model": model, "asked_with": style.name, "trial_label_mass": label_mass})
        return replace(way, takes_priority=way.is_vllm and await _takes_priority(connection, way, within=within))
    raise _nothing_works(failed, model=model)


async def _trial(connection: JudgeConnection, way: Way, *, within: timedelta) -> float | None:
    """Ask a real question; the label mass of the answer. One internal error is not held against the way of asking."""
    try:
        return await _question(connection, way, within=within)
    except BackendError as error:
        if error.status is None or not httpx2.codes.is_server_error(error.status) or error.is_passing:
            raise
    return await _question(connection, way, within=within)


async def _question(connection: JudgeConnection, way: Way, *, within: timedelta, priority: int = 0) -> float | None:
    """The label mass: 0 for a judge that is off topic, which has log-probs all the same; None for one without them."""
    delivery = Delivery(within=within, priority=priority, keep_alive=False)
    try:
        answer = await ask(connection, way, probe_question(), delivery=delivery)
    except BackendError as error:
        if error.type is FailureType.JUDGE_OFF_TOPIC:
            return 0.0
        said = {"detail": error.detail, "said": _words(error)}
        _log.info("judge cannot be asked this way", extra={"model": way.model, "asked_with": way.style.name, **said})
        raise
    return answer.label_mass if isinstance(answer, LabelAnswer) else None


async def _takes_priority(connection: JudgeConnection, way: Way, *, within: timedelta) -> bool:
    """VLLM refuses a priority unless it was started with `--scheduling-policy priority`."""
    try:
        await _question(connection, replace(way, takes_priority=True), within=within, priority=_LATER)
    except BackendError as error:
        if error.is_passing:
            raise
        return False
    return True


def _learn(ladder: Ladder, style: Style, error: BackendError) -> None:
    if error.took_the_request:
        ladder.unreadable(style, cut_off=isinstance(error, CutOffError))
    else:
        ladder.refused(style, blamed=parameter_blamed(error, style.traits))


async def _label_tokens(connection: JudgeConnection, *, model: str, within: timedelta) -> Mapping[Labels, LabelTokens]:
    """Ids of the single tokens that spell each label, by `POST /tokenize` (vLLM).

    Empty when that does not exist, and when a label is no single token: then its log-prob cannot be asked for by id.
    """
    found: dict[Labels, LabelTokens] = {}
    try:
        for labels in (PAIR_LABELS, YES_NO_LABELS):
            first, second = [await _spelled(connection, label, model=model, within=within) for label in labels]
            found[labels] = LabelTokens(first=first, second=second)
    except BackendError as error:
        if not error.is_a_no:
            raise
        _log.info("judge cannot tokenize", extra={"model": model, "detail": error.detail})
        return {}
    return found if all(tokens.are_usable for tokens in found.values()) else {}


async def _spelled(connection: JudgeConnection, label: str, *, model: str, within: timedelta) -> tuple[int, ...]:
    ids: list[int] = []
    for word in spellings(label):
        for text in (word, f" {word}"):
            body = {"model": model, "prompt": text, "add_special_tokens": False}
            answer = await connection.tokenize(body, within=within)
            try:
                tokens = _Tokens.model_validate_json(answer).tokens
            except ValidationError:
                continue
            ids += tokens if len(tokens) == 1 else []
    return tuple(dict.fromkeys(ids))


def not_there(error: BackendError, *, model: str, listed: Sequence[str]) -> BackendError:
    """Is it the model or the URL that does not exist?"""
    if listed and model not in listed:
        detail = f"the judge has no model {model!r}; it serves {', '.join(listed)}"
    else:
        detail = f"the judge has no chat API for {model!r} at this URL ({error.detail})"
    return BackendError(FailureType.JUDGE_REFUSED, detail, status=error.status)


def _nothing_works(failed: Sequence[_Failed], *, model: str) -> BackendError:
    """Say for each capability why it is missing: the last answer that could not be read, else the first refusal."""
    by_capability: dict[Capability, BackendError] = {}
    for attempt in failed:
        capability, error = attempt.style.capability, attempt.error
        if error.took_the_request or capability not in by_capability:
            by_capability[capability] = error
    reasons = list(by_capability.values())
    reason = next((error for error in reasons if error.took_the_request), reasons[0])
    if len({error.detail for error in reasons}) == 1:
        detail = f"{reason.detail}, whichever way {model!r} is asked"
    else:
        each = "; ".join(f"{capability}: {error.detail}" for capability, error in by_capability.items())
        detail = f"{model!r} can be asked in no way: {each}"
    return BackendError(reason.type, detail, status=reason.status)


def _words(error: BackendError) -> str:
    cause = error.__cause__
    return cause.response.text[:_WORDS_LOGGED] if isinstance(cause, openai.APIStatusError) else ""
