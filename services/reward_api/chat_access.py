"""The model that writes, as this app reaches it: the judge itself, or a server of its own.

Owns handing it out while it is there, and bringing a server of its own up and down. Refuses to hold anything up:
rewards need nobody who writes.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from services.judging.backend import BackendError
from services.judging.chat import THE_WRITER, Chat
from services.judging.scheduling.replica_set import ReplicaSet
from services.reward_api.reaching import Reaching

_AT_ONCE = timedelta(0)

_log = logging.getLogger(__name__)


class ChatAccess:
    """Hands out the model that writes while it is there."""

    def __init__(self, chat: Chat, *, own_server: ReplicaSet | None) -> None:
        """`own_server` is what `chat` asks, to be started and closed; None = the judge, which others care for."""
        self._chat = chat
        self._own_server = own_server
        self._reaching = None if own_server is None else Reaching(lambda: self._start(own_server), name=THE_WRITER)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Go on trying to reach a server of its own while the block lasts, and close it at the end."""
        if self._own_server is None or self._reaching is None:
            yield
            return
        try:
            async with self._reaching.open(first_try=_AT_ONCE):
                yield
        finally:
            await self._own_server.aclose()

    @property
    def has_own_server(self) -> bool:
        """Whether it is another server than the judge's."""
        return self._own_server is not None

    def get(self) -> Chat | None:
        """The model that writes; None while it cannot be asked."""
        return self._chat if self.problem() is None else None

    def problem(self) -> str | None:
        """None while it can be asked, else what is wrong; costs no call."""
        if self._reaching is not None and self._reaching.problem is not None:
            return self._reaching.problem
        return self._chat.problem()

    async def _start(self, own_server: ReplicaSet) -> None:
        try:
            await own_server.start()
        except BackendError as error:
            raise BackendError(error.type, self._chat.told(error.detail)) from error
        identity = self._chat.identity
        _log.info("model that writes reached", extra={"model": identity.model, "fingerprint": identity.fingerprint})
