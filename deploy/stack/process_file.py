"""The process file: what runs, in which order, and with which ports and folders.

Owns its format and the filling in of ports and folders; starting is `member`'s and `stack`'s.
"""

import random
import shlex
import signal
import socket
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from jinja2 import Environment, StrictUndefined, TemplateError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared_schemas.messages import in_one_line

_FREE_PORTS = range(20_000, 30_000)
"""Below those that Linux gives to outgoing connections: one of those could hold the port of a killed process."""

_JINJA = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


class StackError(Exception):
    """The stack cannot be started; the message is one line."""


class Kind(StrEnum):
    """How long a process is meant to live."""

    SERVICE = "service"
    """Until the stack is stopped: it is started again when it ends."""
    TASK = "task"
    """Until it is done, with code 0, before the next process begins."""
    JOB = "job"
    """Until it is done, beside the others."""


class ProcessSpec(BaseModel):
    """One process of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Stands before every line of its output."""
    command: tuple[str, ...]
    """A program and its arguments; in the file one string, split as a shell does."""
    kind: Kind = Kind.SERVICE
    """How long it is meant to live."""
    after: tuple[str, ...] = ()
    """Processes above it that must be ready, or done, before it starts."""
    ready: str | None = None
    """A service is ready when it has said this; none = as soon as it has started. Case does not matter."""
    group: str | None = None
    """Left out unless this group is asked for."""
    unless: Path | None = None
    """A task that is done already when this exists."""
    folder: Path | None = None
    """Made for it alone, and where it runs; none = it runs in the checkout."""
    template: Path | None = None
    """A file beside the process file that is filled in and put into its folder."""
    instead_of_root: str | None = None
    """As whom it runs when root starts the stack."""
    stop: str = "SIGTERM"
    """The signal that asks it to end."""
    patience: float = Field(default=10.0, gt=0.0)
    """Seconds it may take to end."""
    package: str | None = None
    """Debian's package of the program, for those who lack it."""

    @field_validator("command", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return shlex.split(value) if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _is_a_signal(cls, name: str) -> str:
        if name not in signal.Signals.__members__:
            raise ValueError(f"{name} is no signal")
        return name


class ProcessFile(BaseModel):
    """A file with its ports and folders filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: str
    """Where the whole is reached; it is ready when `/readyz` says so."""
    ports: Mapping[str, int]
    """Name → TCP port on the loopback interface."""
    environment: Mapping[str, str] = Field(default_factory=dict)
    """Environment variables of every process."""
    process: tuple[ProcessSpec, ...]
    """They stop from the last to the first."""

    @field_validator("process")
    @classmethod
    def _come_after_what_stands_above(cls, specs: tuple[ProcessSpec, ...]) -> tuple[ProcessSpec, ...]:
        above: set[str] = set()
        for spec in specs:
            if unknown := set(spec.after) - above:
                raise ValueError(f"{spec.name} comes after {min(unknown)}, which does not stand above it")
            above.add(spec.name)
        return specs

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        folder: Path,
        ports: Mapping[str, int],
        settings: Mapping[str, str],
        groups: frozenset[str],
    ) -> Self:
        """Read the file; `ports` and `settings` win over what stands there. Raises `StackError`."""
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise StackError(f"{path}: {error}") from error
        if unknown := set(ports) - set(values.get("ports", {})):
            raise StackError(f"{path} has no port {min(unknown)!r}; it has {', '.join(values.get('ports', {}))}")
        chosen = _choose_ports({**values.pop("ports", {}), **ports})
        values["environment"] = {**values.get("environment", {}), **settings}
        try:
            filled = _filled(values, folder=folder, ports=chosen)
            filled["process"] = [one for one in filled.get("process", ()) if one.get("group") in {None, *groups}]
            return cls(ports=chosen, **filled)
        except ValidationError as error:
            raise StackError(f"{path}: {in_one_line(error)}") from error
        except TemplateError as error:
            raise StackError(f"{path}: {error}") from error


def fill_in(text: str, *, folder: Path, ports: Mapping[str, int]) -> str:
    """The text with its `{{ … }}` replaced. Raises `jinja2.TemplateError`."""
    return _JINJA.from_string(text).render(folder=folder, ports=ports)


def _filled(value: Any, *, folder: Path, ports: Mapping[str, int]) -> Any:
    if isinstance(value, str):
        return fill_in(value, folder=folder, ports=ports)
    if isinstance(value, dict):
        return {name: _filled(inner, folder=folder, ports=ports) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, folder=folder, ports=ports) for inner in value]
    return value


def _choose_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    for name, port in wanted.items():
        if port and not _is_free(port):
            raise StackError(f"port {port} is in use; choose another with --port {name}=NUMBER (0 = any free one)")
    free = _free_ports(taken=set(wanted.values()))
    return {name: port or next(free) for name, port in wanted.items()}


def _free_ports(*, taken: set[int]) -> Iterator[int]:
    for port in random.sample(_FREE_PORTS, len(_FREE_PORTS)):
        if port not in taken and _is_free(port):
            yield port


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
