"""Reaching a server that may still be starting: a large model takes minutes.

Owns going on trying, and what is wrong meanwhile. Refuses to know what is asked of the server.

The one rule: nobody is held up by a server that is away; `problem` says so until it is there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import stamina

from services.judging.backend import BackendError

LONGEST_WAIT = timedelta(seconds=10)
"""Between two attempts."""

_log = logging.getLogger(__name__)


class Reaching:
    """Calls `start` until it succeeds."""

    def __init__(self, start: Callable[[], Awaitable[object]], *, name: str) -> None:
        """`start` raises `BackendError` while the server, called `name` in the log, is not there."""
        self._start = start
        self._name = name
        self._was_tried = asyncio.Event()
        self.problem: str | None = "has not answered yet"
        """Why it has not been reached; None once it has."""

    @asynccontextmanager
    async def open(self, *, first_try: timedelta) -> AsyncIterator[None]:
        """Try while the block lasts, which begins after the first attempt, and after `first_try` at the latest."""
        trying = asyncio.create_task(self._try())
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._was_tried.wait(), first_try.total_seconds())
            yield
        finally:
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)

    async def _try(self) -> None:
        async for attempt in stamina.retry_context(on=BackendError, attempts=None, timeout=None, wait_max=LONGEST_WAIT):
            with attempt:
                try:
                    await self._start()
                except BackendError as error:
                    if error.detail != self.problem:  # every further attempt is logged by stamina already
                        _log.warning("%s is not available", self._name, extra={"detail": error.detail})
                    self.problem = error.detail
                    raise
                except Exception:
                    self.problem = "trying to reach it failed; the log says why"
                    _log.exception("%s cannot be tried", self._name)
                    raise
                finally:
                    self._was_tried.set()
                self.problem = None
