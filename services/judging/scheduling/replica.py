"""One server of the judge: how much it is given at once, whether it is trusted, and what it serves.

Owns the bookkeeping of one replica; the policies it follows are `window`, `breaker`, `prefixes` and `estimate`. Refuses
to send anything: `scheduler` does.
"""

from datetime import timedelta
from http import HTTPStatus

from services.judging.backend import BackendError, BackendIdentity, OpenAIBackend, ServedModel
from services.judging.fingerprint import fingerprint_of
from services.judging.scheduling.breaker import Breaker
from services.judging.scheduling.estimate import CallSeconds
from services.judging.scheduling.prefixes import Prefixes
from services.judging.scheduling.window import Window
from shared_schemas.problems import FailureType

_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

_LONGEST_PAUSE = timedelta(seconds=5)
"""Between two probes of a replica that is away: a model that is back is found in half a training step."""

_USUAL_RETRY_AFTER = timedelta(milliseconds=500)
"""Of a server that refuses for load and does not say for how long."""

_LONGEST_RETRY_AFTER = timedelta(seconds=10)
"""A server that names an hour may be back in a second: it is asked again by then, with as little as its window lets."""


class Replica:
    """What the scheduler knows of one backend. Times are seconds of one monotonic clock."""

    def __init__(self, backend: OpenAIBackend, *, max_window: int, writing_share: float = 0.5) -> None:
        """At most `writing_share` of its window is given to calls that write, but always one."""
        self.backend = backend
        self._writing_share = writing_share
        self._num_writing = 0
        self.window = Window(initial=min(16, max_window), maximum=max_window)
        self.breaker = _new_breaker()
        self.prefixes = Prefixes()
        self.call_seconds = CallSeconds()
        self.identity: BackendIdentity | None = None
        self.in_flight = 0
        self.num_dispatched = 0
        self.problem: str | None = "has not answered yet"
        """What is wrong with it, in words for `/readyz`; none while nothing is."""
        self.last_error: BackendError | None = None
        """How the last probe failed."""
        self._paused_until = 0.0

    @property
    def name(self) -> str:
        """`host:port`: safe for logs and metric labels."""
        return self.backend.name

    @property
    def fingerprint(self) -> str | None:
        """Of the judge it is; none while that is not known."""
        return None if self.identity is None else fingerprint_of(self.identity)

    @property
    def room(self) -> int:
        """Calls that it can be given now; 0 or less when its window is full."""
        return self.window.limit - self.in_flight

    @property
    def has_room_to_write(self) -> bool:
        """Whether it can be given a call that writes: those take long, and others shall not wait for them."""
        return self.room > 0 and self._num_writing < max(1.0, self._writing_share * self.window.limit)

    @property
    def paused_until(self) -> float:
        """When it wants to hear from us again: its own `Retry-After`."""
        return self._paused_until

    def is_available(self, now: float) -> bool:
        """Whether it may be given calls at all."""
        return self.breaker.is_closed and self.identity is not None and now >= self._paused_until

    def begin(self, num_calls: int, *, writes: bool = False) -> None:
        """Calls were given to it; `writes` as their bundle."""
        self.in_flight += num_calls
        self._num_writing += num_calls if writes else 0
        self.num_dispatched += num_calls

    def end(self, *, writes: bool = False) -> None:
        """A call that was given to it is over, however it went."""
        self.in_flight -= 1
        self._num_writing -= 1 if writes else 0

    def succeeded(self, *, sent_at: float, was_full: bool, now: float, writes: bool = False) -> None:
        """It answered; also with an answer that nobody can use, which says nothing about its load.

        How long it wrote (`writes`) says nothing about how long its verdicts take.
        """
        self.breaker.on_success()
        self.problem = None
        if not writes:
            self.call_seconds.observe(now - sent_at)
        self.window.on_success(sent_at=sent_at, was_full=was_full, now=now)

    def failed(self, error: BackendError, *, sent_at: float, was_full: bool, now: float, writes: bool = False) -> None:
        """It did not answer, or said no."""
        if not error.type.is_retryable:
            self.succeeded(sent_at=sent_at, was_full=was_full, now=now, writes=writes)
            return
        self.problem = error.detail
        if error.status in _BUSY or error.type is FailureType.JUDGE_TIMEOUT:
            self.window.on_congestion(sent_at=sent_at, now=now)
        retry_after = error.retry_after_seconds
        if retry_after is None and error.type is FailureType.JUDGE_OVERLOADED:
            retry_after = _USUAL_RETRY_AFTER.total_seconds()
        if retry_after is None:
            self._distrust(now)
        elif self.in_flight <= 1:
            # While others of its calls are being answered it only has enough, and the smaller window sees to that.
            pause = min(retry_after, _LONGEST_RETRY_AFTER.total_seconds())
            self._paused_until = max(self._paused_until, now + pause)

    def left(self, *, sent_at: float, usual_seconds: float, now: float) -> None:
        """A caller gave up waiting for it: news about the replica, too, when that took ten times as long as a call."""
        if now - sent_at >= max(10 * usual_seconds, 1.0):
            self.window.on_congestion(sent_at=sent_at, now=now)
            self._distrust(now)

    def identified(self, identity: BackendIdentity) -> None:
        """It is there and serves this."""
        self.identity = identity
        self.breaker = _new_breaker()
        self.problem = None

    def lost(self, error: BackendError, now: float) -> None:
        """A probe found it away."""
        self.problem, self.last_error = error.detail, error
        self.breaker.trip(now=now)
        self.prefixes.forget()

    def _distrust(self, now: float) -> None:
        self.breaker.on_failure(now=now)
        if not self.breaker.is_closed:
            self.prefixes.forget()


def _new_breaker() -> Breaker:
    return Breaker(max_pause_seconds=_LONGEST_PAUSE.total_seconds())


def serves(served: ServedModel, identity: BackendIdentity) -> bool:
    """Whether a server that says `served` of itself is still the one that was probed."""
    now = (served.model, served.server_version, served.revision)
    return now == (identity.model, identity.server_version, identity.revision)
