"""Faults that the pixel judge pretends to have: which request gets which, and what a broken answer looks like.

The one rule: a fault is never a wrong opinion. What it breaks, nobody can read as an answer.
"""

import itertools
import math
import random
from contextlib import suppress
from enum import StrEnum

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.judging.pixel_judge.completions import Choice, Completion, TokenLogProb
from services.judging.pixel_judge.settings import PixelJudgeSettings

_NOT_A_LABEL = "perhaps"
_IMPOSSIBLE_LOG_PROB = 0.5


class Fault(StrEnum):
    """What can go wrong with one request."""

    ERROR = "error"
    STALL = "stall"
    MALFORMED = "malformed"
    DROP = "drop"


def draw_fault(settings: PixelJudgeSettings, dice: random.Random) -> Fault | None:
    """At most one fault, each at its rate; always one throw of the dice."""
    left = dice.random()
    rates = {
        Fault.ERROR: settings.error_rate,
        Fault.STALL: settings.stall_rate,
        Fault.MALFORMED: settings.malformed_rate,
        Fault.DROP: settings.drop_rate,
    }
    for fault, rate in rates.items():
        if left < rate:
            return fault
        left -= rate
    return None


class Malformation(StrEnum):
    """What can be wrong with an answer, in the order in which a judge goes through them."""

    EMPTY_BODY = "empty body"
    CUT_JSON = "JSON that ends half-way"
    NAN_LOG_PROB = "log-probabilities that are not a number"
    NO_CHOICES = "no choices"
    WRONG_LABEL = "tokens that are no labels"
    POSITIVE_LOG_PROB = "log-probabilities above 0"

    @classmethod
    def cycle(cls) -> "itertools.cycle[Malformation]":
        """One after the other, for ever."""
        return itertools.cycle(cls)


def break_answer(completion: Completion, malformation: Malformation) -> bytes:
    """The body of `completion` with one thing wrong."""
    whole = completion.model_dump_json().encode()
    match malformation:
        case Malformation.EMPTY_BODY:
            return b""
        case Malformation.CUT_JSON:
            return whole[: len(whole) // 2]
        case Malformation.NO_CHOICES:
            return completion.model_copy(update={"choices": []}).model_dump_json().encode()
        case Malformation.WRONG_LABEL:
            return _with_tokens(completion, token=_NOT_A_LABEL)
        case Malformation.NAN_LOG_PROB:
            return _with_tokens(completion, log_prob=math.nan)
        case Malformation.POSITIVE_LOG_PROB:
            return _with_tokens(completion, log_prob=_IMPOSSIBLE_LOG_PROB)


def _with_tokens(completion: Completion, *, token: str | None = None, log_prob: float | None = None) -> bytes:
    """Another token or log-prob in every place; an answer without log-probs says it in its text instead."""
    broken = completion.model_copy(deep=True)
    [choice] = broken.choices
    if choice.logprobs is None or token is not None:
        choice.message.content = token or str(log_prob)
    for entry in _token_log_probs(choice):
        entry.token = token or entry.token
        entry.logprob = entry.logprob if log_prob is None else log_prob
    return broken.model_dump_json().encode()


def _token_log_probs(choice: Choice) -> list[TokenLogProb]:
    positions = choice.logprobs.content if choice.logprobs else []
    return [entry for position in positions for entry in (position, *position.top_logprobs)]


class DroppedConnection(Response):
    """No answer: a server closes the connection; without a server, in process, the application raises."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Try to send a header that cannot be sent: once a response has begun and failed, a server can only hang up."""
        was_refused = True
        with suppress(Exception):  # each server has an exception of its own for it
            await send({"type": "http.response.start", "status": 500, "headers": [(b"\n", b"")]})
            was_refused = False
        if not was_refused:
            raise ConnectionAbortedError("a simulated fault: the connection is dropped")
