"""What a job has done and spent so far, counted in memory; the worker writes it down a few times a second."""

import time
from collections.abc import Callable

from services.storage.job_claims import Progress
from shared_schemas.jobs import Job, JobStage


class ProgressCounter:
    """Counts for one attempt at a job."""

    def __init__(self, job: Job, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Spending goes on from what earlier attempts spent; stages begin anew. `clock` counts seconds."""
        self._clock = clock
        self._stage_began = clock()
        self._stages: dict[str, JobStage] = {}
        self._judge_calls = job.judge_calls
        self._tokens = job.tokens
        self._written = self.now()

    def stage(self, name: str, total: int) -> None:
        """Begin a part of `total` items; one that was begun before goes on, with so many more."""
        before = self._stages.pop(name, JobStage(name=name, done=0, total=0))
        self._stages[name] = before.model_copy(update={"total": before.total + total})
        self._stage_began = self._clock() - before.seconds

    def advance(self, num_items: int) -> None:
        """Some more items of the last stage are done. Raises `LookupError` before the first stage."""
        stage = self._last_stage()
        seconds = round(self._clock() - self._stage_began, 3)
        self._stages[stage.name] = stage.model_copy(update={"done": stage.done + num_items, "seconds": seconds})

    def spend(self, *, judge_calls: int, tokens: int) -> None:
        """Some more was paid for, for the last stage if one has begun."""
        self._judge_calls += judge_calls
        self._tokens += tokens
        if self._stages:
            stage = self._last_stage()
            spent = {"judge_calls": stage.judge_calls + judge_calls, "tokens": stage.tokens + tokens}
            self._stages[stage.name] = stage.model_copy(update=spent)

    def now(self) -> Progress:
        """All of it at this moment."""
        return Progress(stages=tuple(self._stages.values()), judge_calls=self._judge_calls, tokens=self._tokens)

    @property
    def is_news(self) -> bool:
        """Whether it differs from what was last `written`."""
        return self.now() != self._written

    def written(self, progress: Progress) -> None:
        """This much is in the database."""
        self._written = progress

    def _last_stage(self) -> JobStage:
        if not self._stages:
            raise LookupError("no stage has begun")
        return list(self._stages.values())[-1]
