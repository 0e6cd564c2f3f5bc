"""`python -m deploy.stack`: start the stack, print what its processes say, stop it with Ctrl-C."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Annotated

import typer

from arr.console import ExitCode, fail
from deploy.stack.process_file import ProcessFile, StackError
from deploy.stack.stack import Stack

_OWN_FILE = Path(__file__).parent / "stack.toml"

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


def main(
    folder: Annotated[Path, typer.Option(file_okay=False, help="Where data is kept.")] = Path(".arr/stack"),
    trainers: Annotated[bool, typer.Option("--trainers", help="Three tiny trainers, too, all at once.")] = False,
    port: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="A port of the process file; 0 = any free one.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An environment variable of every process.")
    ] = None,
    file: Annotated[Path, typer.Option(dir_okay=False, help="The process file.", show_default=False)] = _OWN_FILE,
) -> None:
    """Start Redis, PostgreSQL, two judges, two replicas of the service behind nginx, and two workers.

    What is killed is started again. Ctrl-C stops all, the last one first; data stays in the folder.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ports = {name: int(number) for name, number in _pairs(port or [])}
        groups = frozenset({"trainers"} if trainers else ())
        settings = dict(_pairs(setting or []))
        processes = ProcessFile.load(file, folder=folder, ports=ports, settings=settings, groups=groups)
        asyncio.run(_run(processes, folder=folder, templates=file.parent))
    except OSError as error:
        fail(str(error), code=ExitCode.USAGE)
    except (StackError, ValueError) as error:
        fail(str(error))


def _pairs(options: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [option.partition("=") for option in options]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"{wrong[0]!r}: write NAME=VALUE")
    return [(name, value) for name, _, value in pairs]


async def _run(file: ProcessFile, *, folder: Path, templates: Path) -> None:
    tell = _Told([spec.name for spec in file.process])
    stack = Stack(file, folder=folder, templates=templates, tell=tell)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stack.run(stop, announce=lambda: tell("stack", f"answers at {file.url} (stop it with Ctrl-C)"))
    tell("stack", "has stopped")


class _Told:
    """Lines on standard output, each behind its process's name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._width = max(map(len, [*names, "stack"]))
        self._colours = dict(zip(names, cycle(_COLOURS), strict=False))

    def __call__(self, name: str, line: str) -> None:
        with suppress(OSError):  # the terminal is gone; what runs must still be stopped in order
            typer.echo(typer.style(f"{name:{self._width}} | ", fg=self._colours.get(name, "white")) + line)


if __name__ == "__main__":
    typer.run(main)
