"""Waiting for a job: when to look again, whom to tell, and when it is over. Looking is the clients' part."""

import time
from collections.abc import Callable
from datetime import timedelta

from shared_schemas.jobs import Job

LOOK_EVERY = timedelta(milliseconds=500)
"""Between two looks: often enough for a progress bar, seldom enough to cost the service nothing."""


def ignore_progress(_job: Job) -> None:
    """For those who wait for the end only."""


class JobWatch:
    """What is known about one job while somebody waits for it."""

    job: Job
    """As it was at the last look."""

    def __init__(
        self,
        on_progress: Callable[[Job], None],
        *,
        deadline: timedelta | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds."""
        self._on_progress = on_progress
        self._clock = clock
        self._end = None if deadline is None else clock() + deadline.total_seconds()
        self._seen_revision = 0

    def look(self, job: Job) -> timedelta | None:
        """Take note of the job as it is now; returns how long to wait before the next look, none = it is final.

        Raises `TimeoutError` when there is no time left for one.
        """
        self.job = job
        if job.revision > self._seen_revision:
            self._seen_revision = job.revision
            self._on_progress(job)
        if job.state.is_final:
            return None
        if self._end is not None and self._clock() >= self._end:
            raise TimeoutError(f"job {job.id} is still {job.state}")
        return LOOK_EVERY
