"""What a piece of work takes of memory: done in a process of its own, so that nothing else counts. Linux only."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

_KIB_PER_MIB = 1024

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Resident memory of one process, MiB."""

    before: float
    """With the code loaded and nothing done."""
    peak: float
    """At most."""


def in_new_process(function: Callable[..., T], *arguments: Any) -> tuple[T, Memory]:
    """What the function of a module returns or raises, and the memory that it took."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, function, arguments).result()


def peak_mib_here() -> float:
    """The most that this process ever had."""
    return _mib("VmHWM")


def _measured(function: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[T, Memory]:
    before = _mib("VmRSS")
    value = function(*arguments)
    return value, Memory(before=before, peak=_mib("VmHWM"))


def _mib(field: str) -> float:
    """Of this process; unlike `getrusage`, what it was forked from does not count."""
    with Path("/proc/self/status").open() as lines:
        [kib] = (int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return kib / _KIB_PER_MIB
