"""The judge's fingerprint: a digest of all that can change an answer besides the question."""

from functools import lru_cache

from services.judging.backend import BackendIdentity
from services.judging.prompts import TEMPLATE_VERSION
from shared_schemas.rubrics import json_digest


@lru_cache(maxsize=64)
def fingerprint_of(backend: BackendIdentity) -> str:
    """`sha256:…` over model, revision, server version, prompt templates and the way of asking."""
    return json_digest(
        {
            "model": backend.model,
            "revision": backend.revision,
            "server_version": backend.server_version,
            "template": TEMPLATE_VERSION,
            "sampling": {"style": backend.style, "temperature": 0, "max_tokens": 1},
        }
    )
