"""One process of the stack: started, listened to, started again, stopped.

The one rule: what was started here is ended here, by its process id, with everything it has started itself.
"""

import asyncio
import os
import pwd
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from deploy.stack.process_file import Kind, ProcessSpec, StackError
from deploy.stack.programs import dying_with_its_parent, find_program, user_of

START_SECONDS = 120.0
"""How long a service may take until it is ready."""

_SHORT_WAIT, _LONG_WAIT = 0.2, 10.0
"""Seconds before a service that ended is started again: the first time, and at most."""

_LAST_WORDS_SECONDS = 5.0
"""How long the rest of its output is waited for after it has ended."""

_CHECKOUT = Path(__file__).parents[2]


class Member:
    """A process that is kept alive, or seen to its end."""

    def __init__(self, spec: ProcessSpec, *, environment: Mapping[str, str], tell: Callable[[str, str], None]) -> None:
        """`tell(name, line)` gets every line that it prints, and what happens to it."""
        self.spec = spec
        self._command = dying_with_its_parent([find_program(spec), *spec.command[1:]])
        self._user = user_of(spec)
        self._environment = environment
        self._tell = tell
        self._process: Process | None = None
        self._last_line = ""
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._life: asyncio.Task[int] | None = None

    async def start(self) -> None:
        """Return once a service is ready, a task done, a job begun. Raises `StackError` when that does not happen."""
        self._life = asyncio.create_task(self._live())
        if self.spec.kind is Kind.JOB:
            return
        if self.spec.kind is Kind.TASK:
            code = await asyncio.shield(self._life)
            if code != 0:
                raise StackError(f"{self.spec.name} {_ending(code)}: {self._last_line}")
            return
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._life}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._life.done():
            raise StackError(f"{self.spec.name} {_ending(self._life.result())}: {self._last_line}")
        if not self._ready.is_set():
            raise StackError(f"{self.spec.name} was not ready after {START_SECONDS:.0f} s: {self._last_line}")

    async def stop(self) -> None:
        """Ask it to end, wait, and end it the hard way when it takes too long. Again is fine."""
        self._stopping.set()
        if self._life is None:
            return
        self._ask_to_end()
        _, alive = await asyncio.wait({self._life}, timeout=self.spec.patience)
        if alive and self._process is not None:
            self._tell(self.spec.name, f"does not end within {self.spec.patience:g} s and is killed")
            _kill_all_of(self._process.pid)
            await self._life

    async def _live(self) -> int:
        """From the first start to the last end; returns the last exit code."""
        wait = _SHORT_WAIT
        while True:
            begun = time.monotonic()
            code = await self._run_once()
            is_kept_alive = self.spec.kind is Kind.SERVICE and self._ready.is_set()
            if self._stopping.is_set() or not is_kept_alive:
                self._tell(self.spec.name, _ending(code))
                return code
            wait = _SHORT_WAIT if time.monotonic() - begun > _LONG_WAIT else min(2 * wait, _LONG_WAIT)
            self._tell(self.spec.name, f"{_ending(code)}; started again in {wait:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
                return code

    async def _run_once(self) -> int:
        reader, output = await _open_pipe()
        try:
            self._process = process = await self._spawn(output)
        finally:
            os.close(output)
        self._tell(self.spec.name, f"is process {process.pid}")
        if self._stopping.is_set():  # since it was begun
            self._ask_to_end()
        if self.spec.ready is None:
            self._ready.set()
        listening = asyncio.create_task(self._listen(reader))
        code = await process.wait()
        _kill_all_of(process.pid)  # also because they hold the other end of the pipe
        await asyncio.wait({listening}, timeout=_LAST_WORDS_SECONDS)
        listening.cancel()
        return code

    async def _spawn(self, output: int) -> Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            env=self._environment,
            cwd=self.spec.folder or _CHECKOUT,
            user=self._user,
            group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
            extra_groups=None if self._user is None else [],
            start_new_session=True,  # Ctrl-C in the terminal is for the stack, which stops its processes in order
        )

    def _ask_to_end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.Signals[self.spec.stop])

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        unfinished = b""
        while block := await reader.read(65_536):
            *lines, unfinished = (unfinished + block).split(b"\n")
            for line in lines:
                self._heard(line.decode(errors="replace").rstrip())
        if unfinished:
            self._heard(unfinished.decode(errors="replace"))

    def _heard(self, line: str) -> None:
        self._last_line = line or self._last_line
        self._tell(self.spec.name, line)
        if self.spec.ready is not None and self.spec.ready.lower() in line.lower():
            self._ready.set()


async def _open_pipe() -> tuple[asyncio.StreamReader, int]:
    """A pipe of its own: asyncio's would have `wait` wait for everybody who holds the other end."""
    source, target = os.pipe()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(source, "rb"))
    return reader, target


def _kill_all_of(pid: int) -> None:
    """What the process has started itself and left behind: each leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
