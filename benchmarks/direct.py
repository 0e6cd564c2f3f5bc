"""Asking the judge directly, without the service: the reference implementation's way, and the practical floor.

Owns the requests of both. Both get their prompts ready-made and every image's base64 for nothing, so that they are as
fast as such code can be.
"""

import asyncio
import json
import math
import time
from typing import Any, Self

import httpx

from benchmarks.measures import Sample
from benchmarks.questions import Pair
from services.judging.chat_messages import encode_request, messages_of, with_postscript
from services.judging.prompts import PAIR_LABELS, JudgePrompt

REASON_TOKENS = 160
"""Tokens of a written verdict: reason and rank."""

_REASON_CHARS = 130
"""With the braces, names and rank around it, `REASON_TOKENS` tokens of a judge whose tokens are characters."""

_RANKS = [[1, 2], [2, 1]]
_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "minLength": _REASON_CHARS, "maxLength": _REASON_CHARS},
        "rank": {"enum": _RANKS},
    },
    "required": ["reason", "rank"],
    "additionalProperties": False,
}
_WRITTEN = {
    "temperature": 0,
    "max_tokens": REASON_TOKENS,
    "response_format": {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": _SCHEMA}},
}
_IN_WORDS = 'Answer with JSON instead: {"reason": why, in a few sentences, "rank": [1, 2] or [2, 1], the better first}.'

_HEADERS = {"Content-Type": "application/json"}


class DirectJudge:
    """A judge's own API."""

    def __init__(self, http: httpx.AsyncClient, *, model: str, label_tokens: list[int]) -> None:
        self.model = model
        self._http = http
        self._written: dict[str, Any] = {"model": model, **_WRITTEN}
        self._one_token: dict[str, Any] = {
            "model": model,
            "temperature": 0,
            "max_tokens": 1,
            "logprobs": True,
            "top_logprobs": 2,
            "allowed_token_ids": label_tokens,
            "logprob_token_ids": label_tokens,
        }

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Ask the judge at `url` for its model and the tokens of its labels."""
        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        http = httpx.AsyncClient(base_url=url, limits=unlimited, timeout=300.0, trust_env=False)
        model = (await http.get("/v1/models")).json()["data"][0]["id"]
        answers = [await http.post("/tokenize", json=_words(model, label)) for label in PAIR_LABELS]
        return cls(http, model=model, label_tokens=[answer.json()["tokens"][0] for answer in answers])

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def written_rank(self, pair: Pair) -> Sample:
        """One order, a reason of `REASON_TOKENS` tokens, then the rank."""
        begun = time.perf_counter()
        messages = with_postscript(messages_of(pair.in_order()), _IN_WORDS)
        said = await self._chat(encode_request(self._written, messages, with_uuids=True))
        is_read = _reads_rank(said["choices"][0]["message"]["content"])
        return Sample(num_pairs=1, judge_calls=1, seconds=time.perf_counter() - begun, num_unread=not is_read)

    async def both_orders(self, pair: Pair) -> Sample:
        """Two one-token requests at a time, and the margin of their log-probabilities."""
        begun = time.perf_counter()
        there, back = await asyncio.gather(self._log_odds(pair.in_order()), self._log_odds(pair.in_order(swapped=True)))
        margin = (there - back) / 2
        return Sample(
            num_pairs=1, judge_calls=2, seconds=time.perf_counter() - begun, num_failed=not math.isfinite(margin)
        )

    async def _log_odds(self, prompt: JudgePrompt) -> float:
        said = await self._chat(encode_request(self._one_token, messages_of(prompt), with_uuids=True))
        top = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        log_probs = {entry["token"]: entry["logprob"] for entry in top}
        first, second = (float(log_probs[label]) for label in PAIR_LABELS)
        return first - second

    async def _chat(self, body: bytes) -> dict[str, Any]:
        answer = await self._http.post("/v1/chat/completions", content=body, headers=_HEADERS)
        answer.raise_for_status()
        said: dict[str, Any] = answer.json()
        return said


def _words(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "prompt": text, "add_special_tokens": False}


def _reads_rank(text: str) -> bool:
    try:
        return json.loads(text)["rank"] in _RANKS
    except (ValueError, KeyError):
        return False
