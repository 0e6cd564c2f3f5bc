"""Judgement keys: under which name an answer is remembered.

Owns the key; the one rule is that the key is the whole request with images replaced by their digests, so that order,
source, prompt, rubric text, template and judge are in it by construction and nothing can be forgotten.
"""

from services.judging.prompts import JudgePrompt, Part
from shared_schemas.rubrics import json_digest

KEY_SCHEMA_VERSION = 2


def judgement_key(fingerprint: str, prompt: JudgePrompt, *, scope: str) -> str:
    """`sha256:…` of what `fingerprint` (judge, template, sampling) is asked by `prompt`, remembered within `scope`."""
    request = {
        "schema": KEY_SCHEMA_VERSION,
        "scope": scope,
        "judge": fingerprint,
        "labels": list(prompt.labels),
        "system": prompt.system,
        "parts": [identify(part) for part in prompt.parts],
    }
    return json_digest(request)


def identify(part: Part) -> dict[str, str]:
    """Text and image under different names: no text can pose as an image's digest."""
    return {"text": part} if isinstance(part, str) else {"image": part.digest}
