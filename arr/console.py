"""How commands talk to people: answers on standard output, one-line errors on standard error.

The one rule: a user's mistake never shows a traceback.
"""

from enum import IntEnum
from typing import NoReturn

import typer
from rich.console import Console

OUT = Console(highlight=False)
_ERR = Console(stderr=True, highlight=False, soft_wrap=True)


class ExitCode(IntEnum):
    """What the shell sees."""

    FAILED = 1
    """The command was right, what it asked for did not happen."""
    USAGE = 2
    """The command, a file or a setting is wrong."""
    INTERRUPTED = 130
    """A signal ended it, and what it was about can go on (128 + SIGINT)."""


def fail(message: str, *, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """Write `error: message` on one line of standard error and end the command with `code`."""
    _ERR.print(f"error: {' '.join(message.split())}", style="red", markup=False)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Write a remark on standard error, where it does not disturb `--json`."""
    _ERR.print(message, markup=False)
