"""What the judge said to one question, and how it is written down.

Owns the two kinds of answer and their one encoding, which every cache stores. Refuses to interpret: margins, scores and
ties are made of answers by `verdicts`.

The one rule: an encoded answer is `sealed`: it carries its own key and a checksum; what does not match is not there.
"""

import math
from dataclasses import asdict, dataclass
from typing import TypeAlias

from services.judging.sealed import seal, unseal


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelAnswer:
    """The log-probabilities of the two labels of a question ("1" and "2", or "yes" and "no")."""

    log_p_first: float
    """log p of the first label, nats."""
    log_p_second: float
    """log p of the second label, nats."""
    label_mass: float
    """Probability of all label tokens together, before any restriction to them; 0 to 1."""
    prompt_tokens: int
    """Tokens the judge read for it."""
    completion_tokens: int
    """Tokens the judge wrote for it."""

    @property
    def log_odds(self) -> float:
        """log p(first) − log p(second) in nats."""
        return self.log_p_first - self.log_p_second

    @property
    def chose_first(self) -> bool:
        """Whether the first label is the likelier one."""
        return self.log_odds > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceAnswer:
    """The label that a judge without log-probabilities named: a choice, and nothing about how sure it was."""

    chose_first: bool
    """Whether it named the first label."""
    prompt_tokens: int
    """Tokens the judge read for it."""
    completion_tokens: int
    """Tokens the judge wrote for it."""


Answer: TypeAlias = LabelAnswer | ChoiceAnswer

_KINDS: dict[str, type[LabelAnswer] | type[ChoiceAnswer]] = {"label": LabelAnswer, "choice": ChoiceAnswer}


def encode_answer(key: str, answer: Answer) -> str:
    """JSON with the answer, the key it belongs under, and a checksum over both."""
    kind = "label" if isinstance(answer, LabelAnswer) else "choice"
    return seal(key, {"kind": kind, **asdict(answer)})


def decode_answer(key: str, text: str | bytes) -> Answer | None:
    """The answer, or None for anything that `encode_answer(key, …)` did not write."""
    fields = unseal(key, text)
    if fields is None:
        return None
    try:
        answer = _KINDS[fields.pop("kind")](**fields)
    except (TypeError, KeyError):
        return None
    return answer if _is_finite(answer) else None


def _is_finite(answer: Answer) -> bool:
    return isinstance(answer, ChoiceAnswer) or math.isfinite(answer.log_odds + answer.label_mass)
