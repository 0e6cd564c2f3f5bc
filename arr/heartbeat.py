"""A file that is touched while the event loop turns: what the health check of a process without a port looks at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from arr.console import ExitCode, fail

EVERY = timedelta(seconds=5)


@asynccontextmanager
async def beating(file: Path | None, *, every: timedelta = EVERY) -> AsyncIterator[None]:
    """Touch `file`, at once and again as long as the block lasts; ends the command with one line when it cannot be.

    Without a file nothing is done.
    """
    if file is None:
        yield
        return
    try:
        await asyncio.to_thread(file.touch)
    except OSError as error:
        fail(f"cannot touch {file}: {error.strerror} (--heartbeat)", code=ExitCode.USAGE)
    task = asyncio.create_task(_touch(file, every))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _touch(file: Path, every: timedelta) -> None:
    while True:
        await asyncio.sleep(every.total_seconds())
        await asyncio.to_thread(file.touch)
