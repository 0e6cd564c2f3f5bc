"""Answers written as JSON: asking for a shape, and reading it back.

Owns `response_format` and how strictly an answer is read; refuses to repair what does not fit.

The one rule: an answer that is not one whole JSON document of the shape asked for is `judge-malformed`. Where nothing
made the server write nothing else, that document may stand among other words (`embedded_json`).
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

import openai
from pydantic import BaseModel, ConfigDict, ValidationError

from services.judging.answers import ChoiceAnswer
from services.judging.chat_completion import read_completion
from services.judging.embedded_json import SaidTwiceError, find_objects, parse_once
from services.judging.failures import BackendError, CutOffError, malformed
from services.judging.ladder import JsonFormat
from services.judging.prompts import PAIR_LABELS, YES_NO_LABELS, Labels

BaseModelT = TypeVar("BaseModelT", bound=BaseModel)


class ChosenLabel(BaseModel):
    """`{"answer": LABEL}` and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)

    answer: str


class _ChosenImage(ChosenLabel):
    answer: Literal["1", "2"]


class _YesOrNo(ChosenLabel):
    answer: Literal["yes", "no"]


_CHOICES: dict[Labels, type[ChosenLabel]] = {PAIR_LABELS: _ChosenImage, YES_NO_LABELS: _YesOrNo}

_MAX_SCHEMA_NAME = 64
"""Characters of OpenAI's `json_schema.name`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonCompletion(Generic[BaseModelT]):
    """What the judge wrote, as the shape it was asked for."""

    value: BaseModelT
    """Validated."""
    prompt_tokens: int
    """Tokens the judge read for it."""
    completion_tokens: int
    """Tokens the judge wrote for it."""


def response_format(schema: type[BaseModel], json_format: JsonFormat) -> dict[str, Any]:
    """`response_format`, where one is sent: `schema` in OpenAI's strict dialect, or any JSON."""
    match json_format:
        case JsonFormat.TEXT:
            return {}
        case JsonFormat.OBJECT:
            return {"response_format": {"type": json_format}}
        case JsonFormat.SCHEMA:
            name = re.sub(r"[^\w-]", "_", schema.__name__, flags=re.ASCII)[:_MAX_SCHEMA_NAME]
            said = {"name": name, "strict": True, "schema": _strict_schema(schema)}
            return {"response_format": {"type": json_format, "json_schema": said}}


def schema_in_words(schema: type[BaseModel]) -> str:
    """The same for servers that enforce JSON and no schema. It says "JSON", without which OpenAI refuses JSON mode."""
    written = json.dumps(_strict_schema(schema))
    return f"Answer with one JSON object that fits this JSON schema, and nothing else:\n{written}"


def read_json(body: bytes, *, schema: type[BaseModelT], among_words: bool = False) -> JsonCompletion[BaseModelT]:
    """Read the text of a `/chat/completions` answer. Raises `BackendError` (`judge-malformed`, `judge-refused`).

    `among_words` also takes a document in a fence, with thoughts before it or with sentences around it, if it is the
    only one of its shape.
    """
    completion = read_completion(body)
    choice = completion.choices[0]
    if choice.was_cut_off:
        raise CutOffError
    text = choice.message.content or ""
    if not text.strip():
        raise malformed("its answer is empty")
    value = _the_one_in(text, schema) if among_words else _whole(text, schema)
    cost = completion.cost
    return JsonCompletion(value=value, prompt_tokens=cost.prompt_tokens, completion_tokens=cost.completion_tokens)


def validated(text: str, schema: type[BaseModelT]) -> BaseModelT:
    """A whole JSON document of exactly this shape: no other keys, no converted types. Raises `ValidationError`."""
    return schema.model_validate_json(text, strict=True, extra="forbid")


def _whole(text: str, schema: type[BaseModelT]) -> BaseModelT:
    try:
        value = validated(text, schema)
        parse_once(text)
    except ValidationError as error:
        raise malformed(f"its answer does not fit the schema: {_kind_of(error)}") from None
    except SaidTwiceError:
        raise malformed("its answer says the same thing twice") from None
    return value


def _the_one_in(text: str, schema: type[BaseModelT]) -> BaseModelT:
    try:
        return _whole(text, schema)
    except BackendError as error:
        as_a_whole = error
    fitting = list[BaseModelT]()
    for found in find_objects(text):
        try:
            fitting.append(validated(found, schema))
        except ValidationError:
            continue
    if not fitting:
        raise as_a_whole
    if len(fitting) > 1:
        raise malformed("its answer holds several JSON objects that fit the schema")
    return fitting[0]


def choice_schema(labels: Labels) -> type[ChosenLabel]:
    """`{"answer": "1"}` or `{"answer": "2"}`, for these labels."""
    return _CHOICES[labels]


def choice_in_words(labels: Labels) -> str:
    """What follows a question that asks for a bare label."""
    first, second = (json.dumps({"answer": label}) for label in labels)
    return f"Write it as JSON: {first} or {second}."


def choice_answer(said: JsonCompletion[ChosenLabel], *, labels: Labels) -> ChoiceAnswer:
    """Which label was chosen."""
    return ChoiceAnswer(
        chose_first=said.value.answer == labels.first,
        prompt_tokens=said.prompt_tokens,
        completion_tokens=said.completion_tokens,
    )


@lru_cache
def _strict_schema(schema: type[BaseModel]) -> Any:
    """What OpenAI's strict mode takes: every property required, no others allowed. The client builds it for tools."""
    return openai.pydantic_function_tool(schema)["function"]["parameters"]


def _kind_of(error: ValidationError) -> str:
    """What is wrong, and not where: a path may hold keys that are the judge's own words."""
    return str(error.errors(include_url=False, include_input=False, include_context=False)[0]["type"])
