"""Rubric sets as YAML. The one rule: what was written is read back as it was; a key that stands twice is refused."""

import json
from typing import Any

import yaml

_LINE_WIDTH = 100


class YamlFormError(Exception):
    """The text is no YAML, or holds what no rubric set can; the message is one line."""


class _Loader(yaml.SafeLoader):
    """Refuses what PyYAML passes over: of two equal keys, it keeps the last."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"{key.value!r} stands twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def write_yaml(values: Any) -> str:
    """Readable letters where they survive; PyYAML writes U+0085 as itself and reads a line break."""
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=_LINE_WIDTH)
    if yaml.safe_load(text) == values:
        return text
    return yaml.safe_dump(values, sort_keys=False, width=_LINE_WIDTH)


def read_yaml(text: str) -> Any:
    """What the text holds, as JSON could hold it. Raises `YamlFormError`."""
    try:
        return json.loads(json.dumps(yaml.load(text, Loader=_Loader)))
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlFormError(f"cannot be read as YAML: {_in_one_line(error)}") from error
    except (TypeError, ValueError) as error:
        raise YamlFormError(f"holds more than text and numbers ({error}); put dates in quotes") from error


def _in_one_line(error: Exception) -> str:
    """`line 3, column 1: 'task' stands twice`."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
