"""The stack: all processes of a file, up in order, down in the opposite order."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from filelock import FileLock, Timeout
from jinja2 import TemplateError

from deploy.stack.member import START_SECONDS, Member
from deploy.stack.process_file import ProcessFile, ProcessSpec, StackError, fill_in
from deploy.stack.programs import prepare_folder

_LONGEST_FOLDER = 80
"""Characters: the path of a socket in it has room for 107."""


class Stack:
    """Everything that a process file names."""

    def __init__(self, file: ProcessFile, *, folder: Path, templates: Path, tell: Callable[[str, str], None]) -> None:
        """`folder` is where data is kept, `templates` where templates lie. Raises `StackError` for what is missing."""
        if len(str(folder)) > _LONGEST_FOLDER:
            raise StackError(f"{folder} is too long for the path of a socket; choose a shorter --folder")
        self._file = file
        self._folder = folder
        self._templates = templates
        self._tell = tell
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
        environment = {**inherited, **file.environment}
        self._members = [
            Member(spec, environment=environment, tell=tell)
            for spec in file.process
            if spec.unless is None or not spec.unless.exists()
        ]

    async def run(self, stop: asyncio.Event, *, announce: Callable[[], None]) -> None:
        """Start everything, `announce` it, wait until `stop` is set, and stop everything; also after a `StackError`."""
        lock = FileLock(self._folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StackError(f"a stack runs in {self._folder} already; choose another --folder") from error
        try:
            await self._until_stopped(stop, announce)
        finally:
            await _stop_all(self._members)
            lock.release()

    async def _until_stopped(self, stop: asyncio.Event, announce: Callable[[], None]) -> None:
        starting = asyncio.create_task(self._start_all(announce))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and starting.exception() is None:
            await stopping
        for task in (starting, stopping):
            task.cancel()
        results = await asyncio.gather(starting, stopping, return_exceptions=True)
        if isinstance(error := results[0], Exception):
            raise error

    async def _start_all(self, announce: Callable[[], None]) -> None:
        await self._start_together([member for member in self._members if member.spec.group is None])
        await self._until_ready()
        announce()
        await self._start_together([member for member in self._members if member.spec.group is not None])

    async def _start_together(self, members: Sequence[Member]) -> None:
        """Each as soon as those it comes after are ready, which may be at once."""
        ready = {member.spec.name: asyncio.Event() for member in members}

        async def start(member: Member) -> None:
            for name in member.spec.after:
                if name in ready:  # the others are older, or were done before
                    await ready[name].wait()
            await self._start(member)
            ready[member.spec.name].set()

        try:
            async with asyncio.TaskGroup() as group:
                for member in members:
                    group.create_task(start(member))
        except* StackError as failed:
            raise failed.exceptions[0] from None

    async def _start(self, member: Member) -> None:
        prepare_folder(member.spec)
        self._write_template(member.spec)
        await member.start()

    def _write_template(self, spec: ProcessSpec) -> None:
        if spec.template is None or spec.folder is None:
            return
        source = self._templates / spec.template
        try:
            text = fill_in(source.read_text(), folder=self._folder, ports=self._file.ports)
            (spec.folder / spec.template.name).write_text(text)
        except (OSError, TemplateError) as error:
            raise StackError(f"{source}: {error}") from error

    async def _until_ready(self) -> None:
        answer = "nothing"
        try:
            async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
                while True:
                    try:
                        response = await client.get(f"{self._file.url}/readyz")
                        if response.is_success:
                            return
                        answer = response.text
                    except httpx.TransportError as error:
                        answer = str(error)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise StackError(f"{self._file.url}/readyz is not ready after {START_SECONDS:.0f} s: {answer}") from None


async def _stop_all(members: Sequence[Member]) -> None:
    for member in reversed(members):
        await member.stop()
