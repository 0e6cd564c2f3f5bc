"""The judge as this app reaches it: there from the start, or as soon as it can be reached.

Owns waiting for a judge that is still starting (a large model takes minutes); requests do not wait, they get a 503.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import stamina

from services.judging.backend import BackendError
from services.judging.judge import Judge, JudgeNotStartedError
from services.judging.scheduling.replica_set import ReplicaState
from services.reward_api.errors import Unavailable
from shared_schemas.reward import JudgeIdentity

FIRST_TRY = timedelta(seconds=5)
"""How long the app's start waits for the judge before it goes on without."""

LONGEST_WAIT = timedelta(seconds=10)
"""Between two attempts to reach the judge."""

_log = logging.getLogger(__name__)


class JudgeAccess:
    """Hands out the judge once it is there."""

    def __init__(self, judge: Judge, *, first_try: timedelta = FIRST_TRY) -> None:
        self._judge = judge
        self._first_try = first_try
        self._problem: str | None = "has not answered yet"
        self._was_tried = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Try to reach the judge, go on trying in the background if it is not there, and close it at the end."""
        starting = asyncio.create_task(self._start())
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._was_tried.wait(), self._first_try.total_seconds())
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._judge.aclose()

    @property
    def identity(self) -> JudgeIdentity | None:
        """Who judges; none while the judge has not been reached."""
        try:
            return self._judge.identity
        except JudgeNotStartedError:
            return None

    def get(self) -> Judge:
        """The judge. Raises `Unavailable` while it has not been reached, and when it has been gone for too long."""
        if (problem := self._problem or self._judge.problem()) is not None:
            raise Unavailable(f"the judge is not available: {problem}")
        return self._judge

    def replicas(self) -> list[ReplicaState]:
        """Every replica at this moment; none while no judge has been reached."""
        return [] if self._problem is not None else self._judge.replicas()

    @property
    def num_queued_calls(self) -> int:
        """Calls that wait for a slot."""
        return self._judge.num_queued_calls

    @property
    def num_changes(self) -> int:
        """How often another judge was found behind the same URLs."""
        return self._judge.num_changes

    async def check(self) -> str | None:
        """None when the judge can be asked now, else what is wrong."""
        return self._problem or await self._judge.check()

    async def _start(self) -> None:
        async for attempt in stamina.retry_context(on=BackendError, attempts=None, timeout=None, wait_max=LONGEST_WAIT):
            with attempt:
                try:
                    identity = await self._judge.start()
                except BackendError as error:
                    if error.detail != self._problem:  # every further attempt is logged by stamina already
                        _log.warning("the judge is not available", extra={"detail": error.detail})
                    self._problem = error.detail
                    raise
                except Exception:
                    self._problem = "trying to reach it failed; the log says why"
                    _log.exception("the judge cannot be tried")
                    raise
                finally:
                    self._was_tried.set()
                self._problem = None
                _log.info("judge reached", extra={"model": identity.model, "fingerprint": identity.fingerprint})
