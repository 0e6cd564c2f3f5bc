"""Chat keys: under which name what was written is remembered.

The one rule: the key is the whole request with images replaced by their digests, so that nothing can be forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from services.judging.backend import BackendIdentity
from services.judging.chat_messages import ChatMessage
from services.judging.keys import identify
from shared_schemas.rubrics import json_digest

CHAT_KEY_VERSION = 1
"""Part of every key: change it when answers are read or asked for in another way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How an answer is drawn."""

    seed: int
    temperature: float
    """0 = the likeliest answer."""
    max_tokens: int
    """Most tokens of the answer, thoughts included."""


def chat_fingerprint(server: BackendIdentity) -> str:
    """`sha256:…` over model, revision, server version and the way of asking."""
    return json_digest(
        {
            "chat": CHAT_KEY_VERSION,
            "model": server.model,
            "revision": server.revision,
            "server_version": server.server_version,
            "style": server.style,
        }
    )


def chat_key(
    fingerprint: str, messages: Sequence[ChatMessage], *, schema: type[BaseModel], sampling: Sampling, scope: str
) -> str:
    """`sha256:…` of what `fingerprint` is told by `messages`, remembered within `scope`."""
    request = {
        "version": CHAT_KEY_VERSION,
        "scope": scope,
        "chat": fingerprint,
        "messages": [
            {"role": message.role, "parts": [identify(part) for part in message.parts]} for message in messages
        ],
        "schema": schema.model_json_schema(),
        "seed": sampling.seed,
        "temperature": float(sampling.temperature),
        "max_tokens": sampling.max_tokens,
    }
    return json_digest(request)
