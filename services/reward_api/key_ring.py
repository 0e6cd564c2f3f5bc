"""Which tokens are good now: the key file, kept in memory and read again when it changes.

The one rule: revoking takes a second, never a restart, and a damaged file lets nobody in or out who was not before.
"""

import hmac
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from services.reward_api.api_keys import ApiKey, KeyFile, KeyFileError, Token, hash_of

LOOK_EVERY = timedelta(seconds=1)
"""How often the file is looked at while requests come in."""

_NOBODY = Token(key_id="", secret_sha256=hash_of(""))
"""Compared where there is no key, so that the time taken does not tell whether an id exists."""

_log = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


class KeyRing:
    """The keys of one file."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises `KeyFileError`; later on, the last good keys stay. `clock` is in seconds."""
        self._file = KeyFile(path)
        self._clock = clock
        self._stamp = self._look()
        self._keys = _by_id(self._file.read())
        self._next_look = clock() + LOOK_EVERY.total_seconds()
        self._problem: str | None = None

    def verify(self, text: str) -> ApiKey | None:
        """The key whose token this is; none when there is none, or it was revoked."""
        self._refresh()
        token = Token.parse(text) or _NOBODY
        key = self._keys.get(token.key_id)
        expected = _NOBODY.secret_sha256 if key is None else key.sha256
        is_right = hmac.compare_digest(token.secret_sha256, expected)
        return key if is_right and key is not None and key.revoked is None else None

    def _refresh(self) -> None:
        """Read the file again if it changed; while it cannot be read, try again at every look and say so once."""
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + LOOK_EVERY.total_seconds()
        try:
            stamp = self._look()  # before reading: a change while it is being read shows at the next look
            if stamp == self._stamp and self._problem is None:
                return
            self._keys = _by_id(self._file.read())
        except KeyFileError as error:
            if str(error) != self._problem:
                _log.error("the last good API keys stay in force", extra={"detail": str(error)})
            self._problem = str(error)
            return
        self._stamp, self._problem = stamp, None
        _log.info("API keys read again", extra={"num_keys": len(self._keys)})

    def _look(self) -> _Stamp:
        try:
            status = self._file.path.stat()
        except OSError as error:
            raise KeyFileError(f"{self._file.path} cannot be read: {error.strerror}") from error
        return status.st_mtime_ns, status.st_size, status.st_ino


def _by_id(keys: tuple[ApiKey, ...]) -> dict[str, ApiKey]:
    return {key.id: key for key in keys}
