"""The parameters of learning on the command line: `key=value`, files, and the table below `arr learn --help`.

Names, meanings and ranges come from the methods' models; nothing is said twice. The one rule: a wrong name is answered
with the right one.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from shared_schemas.learning import PARAMETERS, Method, Parameters
from shared_schemas.messages import first_refusal

_REFERENCE_NAME = re.compile(r" \[(\w+)\]")
"""How the models note the reference implementation's name for a parameter."""


class ParameterError(Exception):
    """A parameter is wrong; the message is one line."""


class ParameterRow(NamedTuple):
    """One parameter, for the table of `--help`."""

    name: str
    default: str
    accepted: str
    meaning: str


def read_parameters(file: Path | None, settings: Sequence[str], *, method: Method = Method.ARR) -> Parameters:
    """The method's parameters: those of a TOML or JSON file, changed by `key=value` settings.

    Values are TOML's; bare words are text.

    Raises `ParameterError`.
    """
    values = {} if file is None else _read(file)
    for setting in settings:
        _set(values, setting)
    try:
        return PARAMETERS[method].model_validate(values)
    except ValidationError as error:
        raise ParameterError(_told(error, method)) from error


def parameter_rows(method: Method = Method.ARR) -> Iterator[ParameterRow]:
    """Every parameter of a method, those of groups as `group.name`."""
    yield from _rows(PARAMETERS[method](), prefix="")


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        values = json.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ParameterError(f"{file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ParameterError(f"{file} holds no parameters: write an object of names and values")
    return values


def _set(values: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator or not key:
        raise ParameterError(f"{setting!r} sets nothing; write name=value, such as max_criteria=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *groups, name = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
        if not isinstance(values, dict):
            raise ParameterError(f"{setting!r}: {group} is a value, not a group of parameters")
    values[name] = value


def _told(error: ValidationError, method: Method) -> str:
    path, message = first_refusal(error)
    name = ".".join(path)
    if error.errors()[0]["type"] != "extra_forbidden":
        return f"{name}: {message}" if name else message
    known = {row.name: _REFERENCE_NAME.search(row.meaning) for row in parameter_rows(method)}
    called = {match[1]: ours for ours, match in known.items() if match}
    if name in called:
        return f"{name} is called {called[name]} here"
    for other in Method:
        if other is not method and any(row.name == name for row in parameter_rows(other)):
            return f"{name!r} is a parameter of the method {other}, not of {method} (--method)"
    similar = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {similar[0]}?" if similar else "`arr learn --help` lists them"
    return f"there is no parameter {name!r}; {hint}"


def _rows(defaults: BaseModel, *, prefix: str) -> Iterator[ParameterRow]:
    schema = defaults.model_json_schema()
    for name, field in type(defaults).model_fields.items():
        default = getattr(defaults, name)
        if isinstance(default, BaseModel):
            yield from _rows(default, prefix=f"{name}.")
            continue
        accepted = _accepted(schema["properties"][name], schema.get("$defs", {}))
        meaning = " ".join((field.description or "").split())
        yield ParameterRow(f"{prefix}{name}", _as_written(default), accepted, meaning)


def _as_written(value: Any) -> str:
    """The default as one would set it."""
    return "" if value is None else json.dumps(value).strip('"')


def _accepted(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """`1 to 20`, `at least 2`, `pairwise | pointwise`, `true | false`, `a number`, `text`."""
    if "anyOf" in schema:
        return _accepted(schema["anyOf"][0], definitions)
    if "$ref" in schema:
        return _accepted(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if choices := schema.get("enum"):
        return " | ".join(choices)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    bounds = {"at least": low, "above": schema.get("exclusiveMinimum"), "below": schema.get("exclusiveMaximum")}
    said = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    return said or {"boolean": "true | false", "number": "a number"}.get(schema["type"], "text")
