"""Where the time of training steps went: what every way of training is measured in."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSeconds:
    """One training step."""

    sample: float
    """Drawing candidates as latents."""
    decode: float
    """From latents to pixels."""
    judge_wait: float
    """Standing still for rewards."""
    update: float
    """Forward, backward, optimizer."""

    @property
    def total(self) -> float:
        """Their sum."""
        return self.sample + self.decode + self.judge_wait + self.update


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The steps of one run."""

    steps: tuple[StepSeconds, ...]
    answers: tuple[float, ...]
    """Seconds from asking for rewards to having them, request by request."""

    def without_first(self) -> "Measured":
        """The first step warms up caches and the service."""
        requests_per_step = len(self.answers) // len(self.steps)
        return Measured(steps=self.steps[1:], answers=self.answers[requests_per_step:])


@dataclass(kw_only=True, slots=True)
class Clock:
    """Adds up what a loop does, by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """What happens inside counts as `name`."""
        begun = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    def as_step(self) -> StepSeconds:
        """Of laps that are named as its fields."""
        return StepSeconds(**self.seconds)


def middle(steps: Sequence[StepSeconds]) -> StepSeconds:
    """The median of each phase."""
    return StepSeconds(
        sample=median(step.sample for step in steps),
        decode=median(step.decode for step in steps),
        judge_wait=median(step.judge_wait for step in steps),
        update=median(step.update for step in steps),
    )
