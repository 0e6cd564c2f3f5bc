"""Answers written as JSON: asking for a shape, and reading it back.

Owns `response_format` and how strictly an answer is read; refuses to repair what does not fit.

The one rule: an answer that is not one whole JSON document of the shape asked for is `judge-malformed`.
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
from services.judging.failures import CutOffError, malformed
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
    """The `response_format` of a request: `schema` in OpenAI's strict dialect, or any JSON."""
    if json_format is JsonFormat.OBJECT:
        return {"type": json_format}
    name = re.sub(r"[^\w-]", "_", schema.__name__, flags=re.ASCII)[:_MAX_SCHEMA_NAME]
    return {"type": json_format, "json_schema": {"name": name, "strict": True, "schema": _strict_schema(schema)}}


def schema_in_words(schema: type[BaseModel]) -> str:
    """The same for servers that enforce JSON and no schema. It says "JSON", without which OpenAI refuses JSON mode."""
    written = json.dumps(_strict_schema(schema))
    return f"Answer with one JSON object that fits this JSON schema, and nothing else:\n{written}"


def read_json(body: bytes, *, schema: type[BaseModelT]) -> JsonCompletion[BaseModelT]:
    """Read the text of a `/chat/completions` answer. Raises `BackendError` (`judge-malformed`, `judge-refused`)."""
    completion = read_completion(body)
    choice = completion.choices[0]
    if choice.was_cut_off:
        raise CutOffError
    text = choice.message.content or ""
    if not text.strip():
        raise malformed("its answer is empty")
    try:
        value = schema.model_validate_json(text)
        json.loads(text, object_pairs_hook=_said_once)
    except ValidationError as error:
        raise malformed(f"its answer does not fit the schema: {_kind_of(error)}") from None
    except ValueError:
        raise malformed("its answer says the same thing twice") from None
    cost = completion.cost
    return JsonCompletion(value=value, prompt_tokens=cost.prompt_tokens, completion_tokens=cost.completion_tokens)


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


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Pydantic takes the last of equal keys; an answer that contradicts itself is none."""
    said = dict(pairs)
    if len(said) < len(pairs):
        raise ValueError("a key stands twice")
    return said
