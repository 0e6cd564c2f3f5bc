"""What a job has done and spent so far, counted in memory; the worker writes it down a few times a second."""

from services.storage.job_claims import Progress
from shared_schemas.jobs import Job, JobStage


class ProgressCounter:
    """Counts for one attempt at a job."""

    def __init__(self, job: Job) -> None:
        """Spending goes on from what earlier attempts spent; stages begin anew."""
        self._stages: dict[str, JobStage] = {}
        self._judge_calls = job.judge_calls
        self._tokens = job.tokens
        self._written = self.now()

    def stage(self, name: str, total: int) -> None:
        """Begin a part of `total` items; one that was begun before is begun anew."""
        self._stages.pop(name, None)
        self._stages[name] = JobStage(name=name, done=0, total=total)

    def advance(self, num_items: int) -> None:
        """Some more items of the last stage are done. Raises `LookupError` before the first stage."""
        if not self._stages:
            raise LookupError("no stage has begun")
        name, stage = list(self._stages.items())[-1]
        self._stages[name] = stage.model_copy(update={"done": stage.done + num_items})

    def spend(self, *, judge_calls: int, tokens: int) -> None:
        """Some more was paid for."""
        self._judge_calls += judge_calls
        self._tokens += tokens

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
