"""Drawing lots, the same for the same generator state."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

ThingT = TypeVar("ThingT")


def any_of(things: Sequence[ThingT], rng: np.random.Generator) -> ThingT:
    """One of them."""
    return things[int(rng.integers(len(things)))]


def any_but(unwanted: ThingT, things: Sequence[ThingT], rng: np.random.Generator) -> ThingT:
    """One of the others."""
    return any_of([thing for thing in things if thing is not unwanted], rng)


def dealt(things: Sequence[ThingT], num: int, rng: np.random.Generator) -> list[ThingT]:
    """So many, each as often as the others, in a random order."""
    return [things[index % len(things)] for index in rng.permutation(num)]
