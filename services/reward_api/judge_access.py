"""The judge as this app reaches it: there from the start, or as soon as it can be reached.

Owns handing it out: requests do not wait for a judge that is still starting (`reaching` does), they get a 503.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from services.judging.judge import Judge, JudgeNotStartedError
from services.judging.scheduling.replica_set import ReplicaState
from services.reward_api.errors import Unavailable
from services.reward_api.reaching import Reaching
from shared_schemas.reward import JudgeIdentity

FIRST_TRY = timedelta(seconds=5)
"""How long the app's start waits for the judge before it goes on without."""

_log = logging.getLogger(__name__)


class JudgeAccess:
    """Hands out the judge once it is there."""

    def __init__(self, judge: Judge, *, first_try: timedelta = FIRST_TRY) -> None:
        self._judge = judge
        self._first_try = first_try
        self._reaching = Reaching(self._start, name="the judge")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Try to reach the judge, go on trying in the background if it is not there, and close it at the end."""
        try:
            async with self._reaching.open(first_try=self._first_try):
                yield
        finally:
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
        if (problem := self._reaching.problem or self._judge.problem()) is not None:
            raise Unavailable(f"the judge is not available: {problem}")
        return self._judge

    def if_there(self) -> Judge | None:
        """The judge, or None where `get` raises: for those who wait."""
        return self._judge if self._reaching.problem is None and self._judge.problem() is None else None

    def replicas(self) -> list[ReplicaState]:
        """Every replica at this moment; none while no judge has been reached."""
        return [] if self._reaching.problem is not None else self._judge.replicas()

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
        return self._reaching.problem or await self._judge.check()

    async def _start(self) -> None:
        identity = await self._judge.start()
        _log.info("judge reached", extra={"model": identity.model, "fingerprint": identity.fingerprint})
