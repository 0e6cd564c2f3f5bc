"""Ways of asking, from the most telling to the least, and which one to try next.

Owns the ladder: raw log-probs of the labels (vLLM), top log-probs, a choice written as JSON; and the dialects of hosted
models that renamed or fixed a parameter. Pure: refuses to know how a question travels.

The one rule: a way is taken because the server answered a question asked that way, never because of its name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

MOST_TRIALS = 33
"""Ways tried at most: one for vLLM, and four dialects each on eight rungs, for a server that never says why."""

_WRITING_TOKENS = 64
"""Room for `{"answer": "yes"}` and some blanks; in JSON mode, models have been seen to write blanks without end."""

_THINKING_TOKENS = 1024
"""Room for models that think before they answer, and count that."""


class Capability(StrEnum):
    """What a judge can be asked for; the first that works is used."""

    LABEL_LOG_PROBS = "label-log-probs"
    """Log-probs of chosen token ids, before any restriction to them (vLLM's `logprob_token_ids`)."""
    TOP_LOG_PROBS = "top-log-probs"
    """Log-probs of the likeliest tokens."""
    CHOICE = "choice"
    """A label written as JSON: a winner, and nothing about how sure."""

    @property
    def has_log_probs(self) -> bool:
        """Whether answers carry log-probabilities, hence margins and scores."""
        return self is not Capability.CHOICE


class JsonFormat(StrEnum):
    """How a server is told to write JSON; `response_format.type` of a request."""

    SCHEMA = "json_schema"
    """The server enforces a schema."""
    OBJECT = "json_object"
    """The server enforces JSON, and words must say which."""
    TEXT = "text"
    """The server enforces nothing, and is not told a format: words must say all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """Parameters that hosted models renamed (`max_tokens`) or fixed (`temperature`)."""

    length_parameter: str = "max_tokens"
    sends_temperature: bool = True


_DIALECTS = (
    Dialect(),
    Dialect(length_parameter="max_completion_tokens"),
    Dialect(sends_temperature=False),
    Dialect(length_parameter="max_completion_tokens", sends_temperature=False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """One way to ask a question."""

    capability: Capability
    max_tokens: int = 1
    top_logprobs: int | None = None
    json_format: JsonFormat | None = None
    dialect: Dialect = _DIALECTS[0]

    @property
    def name(self) -> str:
        """Says all that can change an answer, such as `top_logprobs=20, max_completion_tokens, no temperature`."""
        first = {
            Capability.LABEL_LOG_PROBS: "logprob_token_ids",
            Capability.TOP_LOG_PROBS: f"top_logprobs={self.top_logprobs}",
            Capability.CHOICE: f"{self.json_format}, {self.max_tokens} tokens",
        }[self.capability]
        renamed = [] if self.dialect.length_parameter == "max_tokens" else [self.dialect.length_parameter]
        fixed = [] if self.dialect.sends_temperature else ["no temperature"]
        return ", ".join([first, *renamed, *fixed])

    @property
    def sampling(self) -> Mapping[str, int | float | bool]:
        """The parameters of a request that say how to answer, but for `response_format` and token ids."""
        length = {self.dialect.length_parameter: self.max_tokens}
        temperature = {"temperature": 0.0} if self.dialect.sends_temperature else {}
        if self.capability is Capability.CHOICE:
            return {**length, **temperature}
        top = {} if self.top_logprobs is None else {"top_logprobs": self.top_logprobs}
        return {**length, **temperature, "logprobs": True, **top}

    @property
    def traits(self) -> Mapping[str, object]:
        """Parameters that a server may blame for its refusal, with what was sent."""
        is_sent = self.json_format not in {None, JsonFormat.TEXT}
        return {**self.sampling, **({"response_format": self.json_format} if is_sent else {})}

    @property
    def dialect_matters(self) -> bool:
        """Whether servers with this capability are known that speak another dialect: vLLM alone has label log-probs."""
        return self.capability is not Capability.LABEL_LOG_PROBS


_LABELS = Style(capability=Capability.LABEL_LOG_PROBS)

_OTHER_RUNGS = (
    Style(capability=Capability.TOP_LOG_PROBS, top_logprobs=20),
    Style(capability=Capability.TOP_LOG_PROBS, top_logprobs=5),
    *(
        Style(capability=Capability.CHOICE, json_format=json_format, max_tokens=room)
        for json_format in JsonFormat
        for room in (_WRITING_TOKENS, _THINKING_TOKENS)
    ),
)


class Ladder:
    """The ways worth trying, in order. Say what came of each one before taking the next."""

    def __init__(self, *, has_label_tokens: bool) -> None:
        """`has_label_tokens`: the server told the ids of all labels, so that it can be asked for them."""
        self._rungs = (_LABELS, *_OTHER_RUNGS) if has_label_tokens else _OTHER_RUNGS
        self._dialect: Dialect | None = None
        self._blamed: set[tuple[str, object]] = set()
        self._spacious: set[JsonFormat | None] = set()

    def __iter__(self) -> Iterator[Style]:
        """At most `MOST_TRIALS` styles."""
        for rung in self._rungs:
            for dialect in _DIALECTS if rung.dialect_matters else _DIALECTS[:1]:
                style = replace(rung, dialect=dialect)
                if self._is_worth_trying(style):
                    yield style

    def refused(self, style: Style, *, blamed: str | None) -> None:
        """The server said no to `style`, and perhaps which parameter it minds."""
        if blamed is not None and blamed in style.traits:
            self._blamed.add((blamed, style.traits[blamed]))

    def unreadable(self, style: Style, *, cut_off: bool) -> None:
        """The server took `style`, but its answer lacks what was asked for, or was cut off before it came to that."""
        self._dialect = style.dialect
        if not cut_off:
            self._spacious.add(style.json_format)

    def _is_worth_trying(self, style: Style) -> bool:
        if self._blamed & set(style.traits.items()):
            return False
        if style.max_tokens == _THINKING_TOKENS and style.json_format in self._spacious:
            return False
        return self._dialect is None or style.dialect == self._dialect
