"""values.yaml as people read it: every value with its path, its default and the comment above it."""

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "deploy/helm/rubric-reward"

_LINE = re.compile(r"(?P<indent> *)(?:# -- (?P<comment>.+)|(?P<key>[\w.]+):.*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentedValue:
    """One row of the chart's README.md."""

    path: str
    default: object
    description: str

    @property
    def row(self) -> str:
        """The row as Markdown; what is longer than a word is left to values.yaml."""
        is_long = isinstance(self.default, dict | list) and self.default
        shown = "see `values.yaml`" if is_long else f"`{json.dumps(self.default)}`"
        return f"| `{self.path}` | {shown} | {self.description} |"


@functools.cache
def read_values() -> dict[str, Any]:
    """The defaults."""
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return values


@functools.cache
def documented_values() -> tuple[DocumentedValue, ...]:
    """Every value with a comment, in the order of the file."""
    found, parents, comment = [], list[str](), ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        if match["comment"]:
            comment = match["comment"]
            continue
        parents = [*parents[: len(match["indent"]) // 2], match["key"]]
        if comment:
            found.append(DocumentedValue(path=".".join(parents), default=value_at(parents), description=comment))
            comment = ""
    return tuple(found)


def value_at(path: list[str]) -> object:
    """The default at a path. Raises `KeyError` where there is none."""
    value: Any = read_values()
    for name in path:
        value = value[name]
    return value
