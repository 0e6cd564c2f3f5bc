"""How the demo's long work says how far it is, without knowing who shows it."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""`progress(stage, done, total)`; whatever it raises ends the work."""


def silent(stage: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""
