"""JSON objects that stand among other words: in a fence, after thoughts, between sentences.

Owns where they begin and end; what shape they must have is known to `chat_json`. Refuses to repair them.

The one rule: an object that can be read is read as a whole, never searched for parts that would fit better.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_MOST_CHARS = 200_000
"""Longer texts are not searched: some ten times what a model is given room for."""

_END_OF_THOUGHTS = "</think>"
_BEGIN_OF_THOUGHTS = "<think>"

_OPENING = re.compile(r"[{\[]")
"""Of an array, too: the objects in it are its parts."""


class SaidTwiceError(ValueError):
    """An object has equal keys."""


def find_objects(text: str) -> Iterator[str]:
    """The JSON objects in a text, outermost ones only, in their order; none that says anything twice.

    Thoughts (`<think>…</think>`, also without their beginning, which some chat templates write themselves) are left
    out; thoughts that do not end leave nothing.
    """
    answer = text.rpartition(_END_OF_THOUGHTS)[2]
    if _BEGIN_OF_THOUGHTS in answer or len(answer) > _MOST_CHARS:
        return
    opening = _OPENING.search(answer)
    while opening is not None:
        start = opening.start()
        try:
            _, end = _decoder().raw_decode(answer, start)
        except SaidTwiceError:
            end = _end_of_broken(answer, start)
        except RecursionError:
            return
        except ValueError:
            end = start + 1
        else:
            if answer[start] == "{":
                yield answer[start:end]
        opening = _OPENING.search(answer, end)


def parse_once(text: str) -> Any:
    """Parse JSON whose objects hold no key twice. Raises `SaidTwiceError`, and `ValueError` for what is no JSON.

    Most parsers take the last of equal keys; an answer that contradicts itself is none.
    """
    return _decoder().decode(text)


def _end_of_broken(answer: str, start: int) -> int:
    """Where an object that says something twice ends; where it also breaks off, all of the rest is taken for it."""
    try:
        return json.JSONDecoder().raw_decode(answer, start)[1]
    except (ValueError, RecursionError):
        return len(answer)


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) < len(pairs):
        raise SaidTwiceError("a key stands twice")
    return said
