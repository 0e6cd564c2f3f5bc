"""What can be wrong with an answer, made from a good one. None of it can be read as another verdict."""

import json
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

Spoilt: TypeAlias = Callable[[dict[str, Any], Random], bytes]
"""A good answer → the bytes that are sent in its place."""


def _edited(change: Callable[[dict[str, Any]], object]) -> Spoilt:
    def spoil(answer: dict[str, Any], _dice: Random) -> bytes:
        change(answer["choices"][0])
        return json.dumps(answer).encode()  # NaN and Infinity included

    return spoil


def _log_probs(choice: dict[str, Any], value: object) -> None:
    for entry in choice["logprobs"]["content"][0]["top_logprobs"]:
        entry["logprob"] = value


def _tokens(choice: dict[str, Any], token: str) -> None:
    for entry in choice["logprobs"]["content"][0]["top_logprobs"]:
        entry["token"] = token


def _raw(content: bytes) -> Spoilt:
    return lambda _answer, _dice: content


def _cut(answer: dict[str, Any], dice: Random) -> bytes:
    whole = json.dumps(answer).encode()
    return whole[: dice.randrange(len(whole) - 1)]


def _noise(_answer: dict[str, Any], dice: Random) -> bytes:
    return dice.randbytes(dice.randrange(200))


def _text(_answer: dict[str, Any], dice: Random) -> bytes:
    return "".join(dice.choices('12{}[]":,.e- \u202e\u2028é', k=dice.randrange(200))).encode()


SPOILT: dict[str, Spoilt] = {
    "empty": _raw(b""),
    "null": _raw(b"null"),
    "a page": _raw(b"<html>Bad gateway</html>"),
    "an error under status 200": _raw(b'{"error": {"message": "sk-no"}}'),
    "brackets without end": _raw(b"[" * 50_000),
    "cut off": _cut,
    "bytes": _noise,
    "text": _text,
    "no choices": lambda answer, _dice: json.dumps(answer | {"choices": []}).encode(),
    "not a number": _edited(lambda choice: _log_probs(choice, float("nan"))),
    "infinite": _edited(lambda choice: _log_probs(choice, float("-inf"))),
    "above one": _edited(lambda choice: _log_probs(choice, 0.5)),
    "text for a number": _edited(lambda choice: _log_probs(choice, "high")),
    "no log-probs": _edited(lambda choice: choice.update(logprobs=None)),
    "no position": _edited(lambda choice: choice["logprobs"].update(content=[])),
    "one label alone": _edited(lambda choice: choice["logprobs"]["content"][0]["top_logprobs"].pop()),
    "a wrong label": _edited(lambda choice: _tokens(choice, "3")),
    "a label by name and not by id": _edited(lambda choice: _tokens(choice, "perhaps")),
    "a refusal": _edited(lambda choice: choice["message"].update(refusal="I cannot help with that.")),
    "a filter": _edited(lambda choice: choice.update(finish_reason="content_filter")),
    "no opinion": _edited(lambda choice: _log_probs(choice, -9.0)),
}
