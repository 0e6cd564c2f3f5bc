"""The verdict cache kept in Redis: judge answers that all services before it share.

Owns the commands, their time limits and what an outage means. What a key is made of, what an answer means and how it is
written down belongs to `services.judging`.

The one rule: Redis can cost hits, never a request. Whatever it does, a read then finds nothing and a writer keeps its
own answer: within `OPERATION_TIMEOUT` at the first sign of trouble, at once for as long as the trouble lasts.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from services.judging.answers import Answer, decode_answer, encode_answer
from services.judging.scheduling.breaker import Breaker
from services.storage.grouping import Grouped

KEY_PREFIX = "arr:verdict:"
"""Before every judgement key, so that one Redis can serve others too."""

OPERATION_TIMEOUT = timedelta(milliseconds=100)
"""Of one round trip, including a new connection where there is none."""

_NUM_LOOKS = 10
"""How often, within that time, the event loop has to have come round before Redis counts as silent. A new connection
and the first reply take about that many rounds, each as long as whatever else there is to do."""

_CLOSE_TIMEOUT = timedelta(seconds=1)
"""For the other side to take note that a connection is closed."""

_FIRST_PAUSE = timedelta(milliseconds=250)
"""Before the first probe. Jitter leaves at least half of it: time for calls that were under way to end."""

_LONGEST_PAUSE = timedelta(seconds=5)
"""Between two probes of a Redis that stays away."""

_KEYS_PER_OPERATION = 256
"""One round trip then is about 5 ms of work for the client: far from its time limit, and no stall of the event loop."""

_Reply: TypeAlias = bytes | str | Exception | None
_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class RedisVerdictCache:
    """A `services.judging.cache.VerdictCache` over one Redis server, version 7 or newer. For one event loop.

    Answers that arrive while others are being stored share the next round trip. Keys get no time to live: what has to
    go when memory is short is for the server to say (`maxmemory-policy allkeys-lru`).
    """

    def __init__(
        self,
        url: str,
        *,
        max_connections: int = 16,
        operation_timeout: timedelta = OPERATION_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects when first asked. `clock` gives seconds. Raises `ValueError`, which never quotes the URL."""
        self._client = _client(url, max_connections=max_connections)
        self._operation_timeout = operation_timeout
        self._turns = asyncio.Semaphore(self._client.connection_pool.max_connections)
        self._writes = Grouped(self._store_all, max_items=_KEYS_PER_OPERATION)
        self._breaker = Breaker(
            threshold=1,
            first_pause_seconds=_FIRST_PAUSE.total_seconds(),
            max_pause_seconds=_LONGEST_PAUSE.total_seconds(),
        )
        self._probe: asyncio.Task[object] | None = None
        self._clock = clock
        self._outage: str | None = None
        self._refusal: str | None = None
        self.num_failures = 0
        """Round trips that failed or took too long."""
        self.num_refused_puts = 0
        """Answers that Redis, though it answered, would not store."""

    @property
    def is_available(self) -> bool:
        """Whether Redis is being asked."""
        return self._breaker.is_closed

    @property
    def state(self) -> str:
        """`ok`, or what is wrong: one line without secrets."""
        return self._outage or self._refusal or "ok"

    async def check(self) -> str:
        """Ask Redis now, or see whether it is back if it is time for that; returns `state`."""
        await self._ask(self._look)
        if self._probe is not None:
            await asyncio.wait({self._probe})
        return self.state

    async def get_many(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The stored answers of those keys that have one, as far as Redis told in time."""
        found: dict[str, Answer] = {}
        rest = iter(keys)
        while some := list(islice(rest, _KEYS_PER_OPERATION)):
            values = await self._ask(partial(self._values, [KEY_PREFIX + key for key in some]))
            if values is None:
                break
            for key, value in zip(some, values, strict=True):
                if (answer := _decode(key, value)) is not None:
                    found[key] = answer
        return found

    async def put(self, key: str, answer: Answer) -> Answer:
        """Store `answer` unless the key has one; returns the stored one, or `answer` where Redis does not say."""
        return await self._writes.do((key, answer))

    async def aclose(self) -> None:
        """Finish what was handed in and close every connection."""
        await self._writes.drain()
        if self._probe is not None:
            await asyncio.wait({self._probe})
        await self._client.aclose()

    async def _store_all(self, entries: Sequence[tuple[str, Answer]]) -> list[Answer]:
        answers = dict(reversed(entries))  # the first of several for one key
        replies = await self._ask(partial(self._set, _encode(answers), only_new=True))
        if replies is None:
            return [answers[key] for key, _ in entries]
        stored, damaged = dict(answers), dict[str, Answer]()
        for key, reply in zip(answers, replies, strict=True):
            if reply is None or _is_refusal(reply):
                continue
            earlier = None if isinstance(reply, Exception) else _decode(key, reply)
            if earlier is None:
                damaged[key] = answers[key]
            else:
                stored[key] = earlier
        if damaged:
            replies += await self._ask(partial(self._set, _encode(damaged), only_new=False)) or []
        self._note_refusals([reply for reply in replies if isinstance(reply, Exception) and _is_refusal(reply)])
        return [stored[key] for key, _ in entries]

    async def _values(self, keys: Sequence[str]) -> list[bytes | str | None]:
        values = await self._client.mget(keys)
        if len(values) != len(keys):
            raise redis_errors.InvalidResponse("a server that is no Redis")
        return values

    async def _set(self, values: Mapping[str, str], *, only_new: bool) -> list[_Reply]:
        """For each value: with `only_new` what its key held before, where nothing is changed; or why it was refused."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for key, value in values.items():
                pipeline.set(key, value, nx=only_new, get=only_new)
            replies: list[_Reply] = await pipeline.execute(raise_on_error=False)
        return replies

    async def _look(self) -> object:
        """A read like any other, of a key that nobody writes."""
        return await self._values([KEY_PREFIX])

    async def _ask(self, operation: Callable[[], Coroutine[Any, Any, _T]]) -> _T | None:
        """What Redis replies in time; None while it is away."""
        async with self._turns:  # waiting for a free connection is not Redis's fault and has no time limit
            return await self._attempt(operation) if self._is_worth_asking() else None

    async def _attempt(self, operation: Callable[[], Coroutine[Any, Any, _T]]) -> _T | None:
        try:
            reply = await _in_time(operation(), self._operation_timeout)
        except Exception as error:  # noqa: BLE001 - a server that talks nonsense makes the client raise anything
            self._on_failure(error)
            return None
        self._on_success()
        return reply

    def _is_worth_asking(self) -> bool:
        """Whether Redis is there; when it is time to see whether it is back, that is done beside the callers."""
        if self._breaker.may_probe(now=self._clock()):
            self._probe = asyncio.create_task(self._attempt(self._look))
        return self._breaker.is_closed

    def _on_failure(self, error: Exception) -> None:
        self.num_failures += 1
        self._breaker.on_failure(now=self._clock())
        if self._outage is None:
            self._outage = f"Redis: {_describe(error)}"
            _log.warning("verdicts are neither looked up nor shared until Redis is back", extra={"why": self._outage})

    def _on_success(self) -> None:
        self._breaker.on_success()
        if self._outage is not None and self._breaker.is_closed:
            self._outage = None
            _log.info("Redis is back")

    def _note_refusals(self, errors: Sequence[Exception]) -> None:
        self.num_refused_puts += len(errors)
        if not errors:
            self._refusal = None
        elif self._refusal is None:
            self._refusal = f"Redis does not store answers: {_describe(errors[0])}"
            _log.warning("verdicts are not shared", extra={"why": self._refusal})


async def _in_time(operation: Coroutine[Any, Any, _T], limit: timedelta) -> _T:
    """What comes of `operation`; raises `TimeoutError` when it takes too long.

    The time is counted in short waits, each at its nominal length: how long this process took to come back from one,
    busy with other things, says nothing about Redis.
    """
    task = asyncio.create_task(operation)
    try:
        for _ in range(_NUM_LOOKS):
            await asyncio.wait({task}, timeout=limit.total_seconds() / _NUM_LOOKS)
            if task.done():
                return task.result()
        raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _client(url: str, *, max_connections: int) -> "Redis":
    try:
        if "@" in url and urlsplit(url).scheme != "unix" and "@" not in urlsplit(url).netloc:
            raise ValueError  # an unescaped character ends the password early; the rest would pass for host and port
        client = Redis.from_url(
            url,
            max_connections=max_connections,
            socket_connect_timeout=_CLOSE_TIMEOUT.total_seconds(),  # its other use; connecting ends with the operation
            socket_timeout=None,  # reading and writing too
            retry=Retry(NoBackoff(), 0),
            driver_info=None,  # spares every new connection a round trip, as does the next line
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # unopened; fails here and now on an option that is unknown
    except (ValueError, TypeError, redis_errors.RedisError):
        raise ValueError(
            "must look like redis://[[user]:password@]host[:port][/database], rediss://… or unix:///path, "
            "special characters percent-encoded"
        ) from None
    return client


def _encode(answers: Mapping[str, Answer]) -> dict[str, str]:
    return {KEY_PREFIX + key: encode_answer(key, answer) for key, answer in answers.items()}


def _decode(key: str, value: bytes | str | None) -> Answer | None:
    if value is None:
        return None
    answer = decode_answer(key, value)
    if answer is None:
        _log.warning("stored verdict %s is damaged and will be judged again", key)
    return answer


def _is_refusal(reply: _Reply) -> bool:
    """Whether a value was not stored for another reason than that something else, or of another type, is there."""
    return isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE")


def _describe(error: Exception) -> str:
    """In our words: a server's own may repeat what it was sent, a password included."""
    if type(error) is redis_errors.ConnectionError and isinstance(error.__context__, Exception):
        error = error.__context__  # what the client wraps tells more
    match error:
        case redis_errors.AuthenticationError() | redis_errors.NoPermissionError():
            return "our credentials are refused"
        case redis_errors.BusyLoadingError():
            return "it is still loading its data"
        case redis_errors.OutOfMemoryError():
            return "its memory is full, and its policy is not to evict"
        case redis_errors.ReadOnlyError():
            return "it is a read-only replica"
        case TimeoutError() | redis_errors.TimeoutError():
            return "no answer in time"
        case redis_errors.ConnectionError() | OSError():
            return f"no connection ({type(error).__name__})"
        case _:
            return f"{type(error).__name__}; is it version 7 or newer?"
