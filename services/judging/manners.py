"""How a server is made to write JSON, and what is tried instead when it refuses.

Owns what was found out about one server. Pure: refuses to know how a question travels.

The one rule: something is left out only because the server refused it, or because it paid no heed to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import openai

from services.judging.failures import BackendError, CutOffError, parameter_blamed
from services.judging.ladder import Dialect, JsonFormat
from shared_schemas.problems import FailureType

CANNOT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_IMPLEMENTED}
"""How servers refuse a parameter."""

_LESS_ENFORCED = {JsonFormat.SCHEMA: JsonFormat.OBJECT, JsonFormat.OBJECT: JsonFormat.TEXT}

_SPELLINGS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """One way to ask for JSON."""

    json_format: JsonFormat = JsonFormat.SCHEMA
    dialect: Dialect = field(default_factory=Dialect)
    sends_seed: bool = True

    @property
    def name(self) -> str:
        """Says all that can change an answer, such as `json_object, no seed`."""
        renamed = [] if self.dialect.length_parameter == "max_tokens" else [self.dialect.length_parameter]
        fixed = [] if self.dialect.sends_temperature else ["no temperature"]
        return ", ".join([self.json_format, *renamed, *fixed, *([] if self.sends_seed else ["no seed"])])

    @property
    def in_words(self) -> bool:
        """Whether the schema must be told in words, and the answer may stand among words."""
        return self.json_format is not JsonFormat.SCHEMA

    @property
    def parameters(self) -> set[str]:
        """What it sends that a server may refuse."""
        seed = {"seed"} if self.sends_seed else set()
        temperature = {"temperature"} if self.dialect.sends_temperature else set()
        response_format = set() if self.json_format is JsonFormat.TEXT else {"response_format"}
        return {self.dialect.length_parameter, *seed, *temperature, *response_format}

    def without(self, parameter: str) -> "Manner":
        """The same without one of its `parameters`, or with less of it, or with that under its other name."""
        match parameter:
            case "response_format":
                return replace(self, json_format=_LESS_ENFORCED[self.json_format])
            case "seed":
                return replace(self, sends_seed=False)
            case "temperature":
                return replace(self, dialect=replace(self.dialect, sends_temperature=False))
            case _:
                return replace(self, dialect=replace(self.dialect, length_parameter=_SPELLINGS[parameter]))


class Manners:
    """What is known of one server: the manner that it takes, as far as it was asked."""

    def __init__(self, first: Manner) -> None:
        """`first` is the most that it may be able to do."""
        self.current = first
        self._is_proven = False

    def took(self, manner: Manner, *, was_read: bool) -> None:
        """The server did what it was asked that way; `was_read`: and its answer could be read.

        One that has shown that it can do more was only asked with less for a single question.
        """
        if self._is_proven:
            return
        self.current = manner
        self._is_proven = was_read

    def after(self, manner: Manner, error: BackendError) -> "Manner | None":
        """What to try instead; None when the failure has nothing to do with how the server was asked.

        A server that was heeding the format is not asked twice because of one answer, and is asked with less only for a
        schema that it cannot enforce.
        """
        if error.type is FailureType.JUDGE_MALFORMED:
            ignores_format = not self._is_proven and not manner.in_words and not isinstance(error, CutOffError)
            return manner.without("response_format") if ignores_format else None
        if error.status not in CANNOT or _is_about_something_else(error, manner):
            return None
        if self._is_proven:
            return None if manner.in_words else manner.without("response_format")
        blamed = parameter_blamed(error, manner.parameters)
        suspects = [blamed] if blamed is not None else _by_suspicion(manner)
        return next((manner.without(suspect) for suspect in suspects), None)


def _by_suspicion(manner: Manner) -> Iterator[str]:
    """For servers that do not say what they mind: what fewest of them take goes first."""
    order = ("response_format", "seed", "temperature", manner.dialect.length_parameter)
    return (name for name in order if name in manner.parameters)


def _is_about_something_else(error: BackendError, manner: Manner) -> bool:
    """Whether the server names a parameter, and none of these: too long a question, too many images."""
    cause = error.__cause__
    named = cause.param if isinstance(cause, openai.APIStatusError) else None
    return bool(named) and named not in manner.parameters
