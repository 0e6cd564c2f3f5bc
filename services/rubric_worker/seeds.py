"""Randomness that begins again: every draw has a seed of its own, whatever was drawn before it."""

from shared_schemas.rubrics import json_digest

SEED_BITS = 31
"""What every OpenAI-compatible server takes as a `seed`: a positive 32-bit integer."""


def derived_seed(seed: int, *path: str | int) -> int:
    """The seed of one item, 0 to 2³¹ - 1: the same in every attempt, unrelated to that of any other path."""
    digest = json_digest([seed, *path]).removeprefix("sha256:")
    return int(digest, 16) >> (256 - SEED_BITS)
