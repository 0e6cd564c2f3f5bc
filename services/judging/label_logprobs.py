"""From a chat completion to the log-probabilities of the two labels.

Owns how labels are spelled, and the censoring and label-mass rules; refuses to guess.

The one rule: an answer that is not exactly what was asked for is `judge-malformed` or `judge-refused`, never a number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.judging.answers import LabelAnswer
from services.judging.chat_completion import Position, Usage, read_completion
from services.judging.failures import BackendError, malformed
from services.judging.prompts import Labels
from shared_schemas.problems import FailureType

_TOKEN_BLANKS = " \t\n\u2581\u0120\u010a"
"""Blanks around a label inside a token, also as sentencepiece (`▁`) and byte-level BPE (`Ġ`, `Ċ`) write them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTokens:
    """Ids of the tokens that spell the two labels of a question, as the judge's own tokenizer says."""

    first: tuple[int, ...]
    second: tuple[int, ...]

    @property
    def ids(self) -> list[int]:
        """All of them."""
        return [*self.first, *self.second]

    @property
    def are_usable(self) -> bool:
        """Whether each label has a token, and none has the other's (as unknown words of small vocabularies have)."""
        return bool(self.first and self.second) and not set(self.first) & set(self.second)


def spellings(label: str) -> tuple[str, ...]:
    """How a token may write `label`: "1"; "yes", "Yes" or "YES"."""
    return tuple(dict.fromkeys((label, label.capitalize(), label.upper())))


def read_labels(body: bytes, *, labels: Labels, tokens: LabelTokens | None) -> LabelAnswer:
    """Read the label log-probs at the first position of a `/chat/completions` answer.

    With `tokens`, both labels must be there. Without, a label beyond the returned top log-probs is censored at the
    smallest returned value (an upper bound, so |log-odds| is a lower bound) and adds nothing to the label mass.

    Raises `BackendError` (`judge-malformed`, `judge-refused`, `judge-off-topic` when no label is there at all).
    """
    completion = read_completion(body)
    log_probs = completion.choices[0].logprobs
    if log_probs is None or not log_probs.content:
        raise malformed("its answer has no log-probabilities")
    return _label_answer(log_probs.content[0], labels=labels, tokens=tokens, cost=completion.cost)


def _label_answer(position: Position, *, labels: Labels, tokens: LabelTokens | None, cost: Usage) -> LabelAnswer:
    found = _by_token(position)
    ids = ((), ()) if tokens is None else (tokens.first, tokens.second)
    by_label = [_of_label(found, label, of_label) for label, of_label in zip(labels, ids, strict=True)]
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
        prompt_tokens=cost.prompt_tokens,
        completion_tokens=cost.completion_tokens,
    )


def _by_token(position: Position) -> dict[str, float]:
    """Token → log-prob, the chosen token included; the first of equal tokens counts."""
    found: dict[str, float] = {}
    for entry in (*(position.top_logprobs or ()), position):
        found.setdefault(entry.token, entry.logprob)
    return found


def _of_label(found: Mapping[str, float], label: str, ids: Sequence[int]) -> list[float]:
    """Log-probs of all tokens that spell `label`: by id (vLLM writes `token_id:16`), or by text ("1", " 1")."""
    names = {f"token_id:{token_id}" for token_id in ids}
    words = spellings(label)
    return [value for token, value in found.items() if token in names or token.strip(_TOKEN_BLANKS) in words]


def _log_sum_exp(values: Sequence[float]) -> float:
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))
