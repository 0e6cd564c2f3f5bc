"""A request that is tried again, as one line above a progress bar, in place of stamina's log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock

from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks

_OVER_SECONDS = 300.0
"""After so long without a retry, the next one is the first of another outage."""

_LONG_SECONDS = 60.0
"""From then on an outage is a line a minute."""


@contextmanager
def announcing_retries(announce: Callable[[str], None]) -> Iterator[None]:
    """Tell `announce` of every wait while the block lasts, once for requests that fail together."""
    announcer = _Announcer(announce)
    former = get_on_retry_hooks()
    set_on_retry_hooks([announcer.note])
    try:
        yield
    finally:
        set_on_retry_hooks(former)


class _Announcer:
    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._silent_until = 0.0
        self._began = self._noted = -_OVER_SECONDS
        self._began_at = ""
        self._lock = Lock()

    def note(self, details: RetryDetails) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._noted >= _OVER_SECONDS:
                self._began, self._began_at = now, f"{datetime.now():%H:%M:%S}"
            self._noted = now
            if now < self._silent_until:
                return
            has_lasted = now - self._began
            self._silent_until = now + max(details.wait_for, _LONG_SECONDS if has_lasted >= _LONG_SECONDS else 0.0)
            since = f"waiting since {self._began_at}, " if has_lasted else ""
            self._announce(f"{details.caused_by}; {since}trying again in {details.wait_for:.1f} s")
