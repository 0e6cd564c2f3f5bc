"""A request that is tried again, as one line above a progress bar, in place of stamina's log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks


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
        self._lock = Lock()

    def note(self, details: RetryDetails) -> None:
        with self._lock:
            now = time.monotonic()
            if now >= self._silent_until:
                self._silent_until = now + details.wait_for
                self._announce(f"{details.caused_by}; trying again in {details.wait_for:.1f} s")
