"""From a chat completion to the log-probabilities of the two labels.

Owns the shape of the answers we understand, and the censoring and label-mass rules; refuses to guess.

The one rule: an answer that is not exactly what was asked for is `judge-malformed` or `judge-refused`, never a number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.judging.cache import LabelAnswer
from services.judging.failures import BackendError, malformed
from services.judging.prompts import LABEL_FIRST, LABEL_SECOND
from shared_schemas.problems import FailureType

LABELS = (LABEL_FIRST, LABEL_SECOND)

_TOKEN_BLANKS = " \t\n\u2581\u0120\u010a"
"""Blanks around a label inside a token, also as sentencepiece (`▁`) and byte-level BPE (`Ġ`, `Ċ`) write them."""

_ROUNDING_NATS = 1e-3
"""Log-probs may exceed 0 by rounding (bfloat16 softmax), not by more."""

_REFUSED_BY_FILTER = "content_filter"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTokens:
    """Ids of the tokens that spell the labels, as the judge's own tokenizer says."""

    first: tuple[int, ...]
    second: tuple[int, ...]

    @property
    def ids(self) -> list[int]:
        """All of them."""
        return [*self.first, *self.second]


LogProb: TypeAlias = Annotated[float, Field(le=_ROUNDING_NATS, allow_inf_nan=False)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _TokenLogProb(_Answer):
    token: str
    logprob: LogProb


class _Position(_TokenLogProb):
    top_logprobs: tuple[_TokenLogProb, ...] | None = None


class _LogProbs(_Answer):
    content: tuple[_Position, ...] | None = None


class _Message(_Answer):
    refusal: str | None = None


class _Choice(_Answer):
    message: _Message
    finish_reason: str | None = None
    logprobs: _LogProbs | None = None


class _Usage(_Answer):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(_Answer):
    choices: tuple[_Choice, ...] = Field(min_length=1)
    usage: _Usage | None = None


def read_labels(body: bytes, *, tokens: LabelTokens | None) -> LabelAnswer:
    """Read the label log-probs at the first position of a `/chat/completions` answer.

    With `tokens`, both labels must be there. Without, a label beyond the returned top log-probs is censored at the
    smallest returned value (an upper bound, so |log-odds| is a lower bound) and adds nothing to the label mass.

    Raises `BackendError` (`judge-malformed`, `judge-refused`, `judge-off-topic` when no label is there at all).
    """
    try:
        completion = _Completion.model_validate_json(body)
    except ValidationError as error:
        raise malformed(f"its answer does not fit the API: {_first_fault(error)}") from None
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == _REFUSED_BY_FILTER:
        raise BackendError(FailureType.JUDGE_REFUSED, "the judge refused to answer")
    if choice.logprobs is None or not choice.logprobs.content:
        raise malformed("its answer has no log-probabilities")
    return _label_answer(choice.logprobs.content[0], tokens=tokens, usage=completion.usage or _Usage())


def _label_answer(position: _Position, *, tokens: LabelTokens | None, usage: _Usage) -> LabelAnswer:
    found = _by_token(position)
    by_label = [_of_label(found, label, ids) for label, ids in _variants(tokens)]
    if not all(by_label) and (tokens is not None or len(found) < 2):
        raise malformed("its answer lacks the log-probabilities of the labels")  # one value alone cannot be compared
    if not any(by_label):
        raise BackendError(FailureType.JUDGE_OFF_TOPIC, "the judge considered neither label")
    smallest = min(found.values())
    first, second = (_log_sum_exp(values) if values else smallest for values in by_label)
    return LabelAnswer(
        log_p_first=first,
        log_p_second=second,
        label_mass=min(1.0, sum(math.exp(value) for values in by_label for value in values)),
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
    )


def _by_token(position: _Position) -> dict[str, float]:
    """Token → log-prob, the chosen token included; the first of equal tokens counts."""
    found: dict[str, float] = {}
    for entry in (*(position.top_logprobs or ()), position):
        found.setdefault(entry.token, entry.logprob)
    return found


def _variants(tokens: LabelTokens | None) -> list[tuple[str, tuple[int, ...]]]:
    ids = ((), ()) if tokens is None else (tokens.first, tokens.second)
    return list(zip(LABELS, ids, strict=True))


def _of_label(found: Mapping[str, float], label: str, ids: Sequence[int]) -> list[float]:
    """Log-probs of all tokens that spell `label`: by id (vLLM writes `token_id:16`), or by text ("1", " 1")."""
    names = {f"token_id:{token_id}" for token_id in ids}
    return [value for token, value in found.items() if token in names or token.strip(_TOKEN_BLANKS) == label]


def _log_sum_exp(values: Sequence[float]) -> float:
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))


def _first_fault(error: ValidationError) -> str:
    """Where and what, without the value: a judge's text is not ours to repeat."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part) for part in fault["loc"])
    return f"{fault['type']} at {path}" if path else fault["type"]
