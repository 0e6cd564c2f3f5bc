"""What `profiled_service` saw, worked out per pair."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.profiled_service import IDLE, INTERVAL_SECONDS

_NUM_PARTS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What is done on behalf of one of our modules, or in a package that none of them called."""

    name: str
    ms_per_pair: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Where the time of the service's event loop goes."""

    ms_per_pair: float
    """All of it."""
    busy: float
    """Share of the time in which it did anything, 0 to 1."""
    parts: list[Part]
    """The most expensive first."""


def read_profile(file: Path, *, num_pairs: int) -> Profile:
    """What was seen while `num_pairs` were judged."""
    seen = Counter[str](json.loads(file.read_text()))
    num_looks = seen.total()
    num_idle = seen.pop(IDLE, 0)
    ms_per_look = 1000 * INTERVAL_SECONDS / num_pairs
    return Profile(
        ms_per_pair=ms_per_look * seen.total(),
        busy=1 - num_idle / num_looks,
        parts=[Part(name=name, ms_per_pair=ms_per_look * looks) for name, looks in seen.most_common(_NUM_PARTS)],
    )
