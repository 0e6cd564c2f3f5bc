"""The envelope of a `/chat/completions` answer: its first choice, refusals, and what it cost.

Owns the shape of the answers we understand; what is inside the choice is read by `label_logprobs` and `chat_json`.

The one rule: an answer that is not exactly what the API promises is `judge-malformed` or `judge-refused`.
"""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.judging.failures import malformed, refused

ROUNDING_NATS = 1e-3
"""Log-probs may exceed 0 by rounding (bfloat16 softmax), not by more."""

_LEAST_NATS = -1e6
"""Servers write −9999 for a probability of 0; far beyond that, differences of log-probs would overflow."""

LogProb: TypeAlias = Annotated[float, Field(ge=_LEAST_NATS, le=ROUNDING_NATS, allow_inf_nan=False)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TokenLogProb(_Shape):
    """One token and its log-prob, nats."""

    token: str
    logprob: LogProb


class Position(TokenLogProb):
    """The chosen token of one position, and others that were possible there."""

    top_logprobs: tuple[TokenLogProb, ...] | None = None


class LogProbs(_Shape):
    """Positions of the answer, first token first."""

    content: tuple[Position, ...] | None = None


class Message(_Shape):
    """What was written."""

    content: str | None = None
    refusal: str | None = None


class Choice(_Shape):
    """One answer."""

    message: Message
    finish_reason: str | None = None
    logprobs: LogProbs | None = None

    @property
    def was_cut_off(self) -> bool:
        """Whether the answer ended because there was no more room for it."""
        return self.finish_reason == "length"


class Usage(_Shape):
    """Tokens; 0 where the server does not say."""

    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)


class Completion(_Shape):
    """The whole answer."""

    choices: tuple[Choice, ...] = Field(min_length=1)
    usage: Usage | None = None

    @property
    def cost(self) -> Usage:
        """What it cost, as far as the server says."""
        return self.usage or Usage()


def read_completion(body: bytes) -> Completion:
    """Parse an answer that is no refusal. Raises `BackendError` (`judge-malformed`, `judge-refused`)."""
    try:
        completion = Completion.model_validate_json(body)
    except ValidationError as error:
        raise malformed(f"its answer does not fit the API: {_first_fault(error)}") from None
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise refused()
    return completion


def _first_fault(error: ValidationError) -> str:
    """Where and what, without the value: a judge's text is not ours to repeat."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part) for part in fault["loc"])
    return f"{fault['type']} at {path}" if path else fault["type"]
