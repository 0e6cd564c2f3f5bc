"""Whether a process grows: its memory and its open files over time, and a straight line through them. Linux only."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_BLOCKS = 20
_STUDENT_T = 2.10
"""97.5 % of Student's t with `_BLOCKS` − 2 degrees of freedom."""

_WARM_UP = 0.25
"""Share of the time that is left out: caches fill."""

_KIB_PER_MB = 1e6 / 1024
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Slope:
    """Of a straight line, per hour, with its 95 % interval."""

    per_hour: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """One process, after the warm-up."""

    first_mb: float
    last_mb: float
    memory: Slope
    """MB."""
    first_files: float
    last_files: float
    most_files: int
    files: Slope


@dataclass(kw_only=True)
class Watch:
    """Samples of one process."""

    pid: int
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    async def look(self, *, every_seconds: float) -> None:
        """Take samples until it is cancelled."""
        while True:
            self.seconds.append(time.monotonic())
            self.megabytes.append(_resident_mb(self.pid))
            self.files.append(_open_files(self.pid))
            await asyncio.sleep(every_seconds)

    def growth(self) -> Growth:
        """By means of equal parts of the time: one sample says little that the one before it did not."""
        first = int(_WARM_UP * len(self.seconds))
        hours, megabytes, files = (
            np.array([part.mean() for part in np.array_split(np.array(values[first:], dtype=float), _BLOCKS)])
            for values in ([second / _SECONDS_PER_HOUR for second in self.seconds], self.megabytes, self.files)
        )
        return Growth(
            first_mb=float(megabytes[0]),
            last_mb=float(megabytes[-1]),
            memory=slope(hours, megabytes),
            first_files=float(files[0]),
            last_files=float(files[-1]),
            most_files=max(self.files),
            files=slope(hours, files),
        )


def slope(hours: np.ndarray, values: np.ndarray) -> Slope:
    """Least squares; both are `_BLOCKS` long."""
    away, above = hours - hours.mean(), values - values.mean()
    per_hour = float(away @ above / (away @ away))
    rest = above - per_hour * away
    error = float(np.sqrt(rest @ rest / (len(hours) - 2) / (away @ away)))
    return Slope(per_hour=per_hour, low=per_hour - _STUDENT_T * error, high=per_hour + _STUDENT_T * error)


def _resident_mb(pid: int) -> float:
    with Path(f"/proc/{pid}/status").open() as lines:
        [kib] = (int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kib / _KIB_PER_MB


def _open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
