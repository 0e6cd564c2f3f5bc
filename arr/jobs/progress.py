"""A job under way as people watch it, on standard error: a bar per stage with what it has cost so far."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from arr.console import note
from shared_schemas.jobs import Job, JobStage, JobState

_NAME_WIDTH = 30
"""Characters of a stage's name; the other columns need the rest of a terminal of 80."""


class JobProgress:
    """Draws on a terminal; elsewhere, a line for every stage that is over."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<16}", markup=False),
            BarColumn(bar_width=30, table_column=Column(min_width=6)),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[spent]}", style="dim"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._told: set[str] = set()
        self._attempt = 0
        self._is_waiting = False

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def show(self, job: Job) -> None:
        """The job as it is now."""
        self._say_what_holds_it_up(job)
        for stage in job.stages:
            self._draw(stage)
            is_over = stage is not job.stages[-1] or stage.done >= stage.total or job.state.is_final
            if is_over and not self._console.is_terminal and stage.name not in self._told:
                self._told.add(stage.name)
                note(f"{stage.name}: {stage.done:,} of {stage.total:,}, {_spent(stage)}, {stage.seconds:.1f} s")

    def announce(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, soft_wrap=True)

    def _say_what_holds_it_up(self, job: Job) -> None:
        if job.state is JobState.QUEUED and job.attempt == 0 and not self._is_waiting:
            self._is_waiting = True
            self.announce(f"job {job.id} waits for a worker")
        if job.attempt > max(self._attempt, 1):
            self.announce(f"attempt {job.attempt}: begun again by another worker; the judge is asked nothing twice")
            for task in self._tasks.values():
                self._progress.remove_task(task)
            self._tasks.clear()
            self._told.clear()
        self._attempt = job.attempt

    def _draw(self, stage: JobStage) -> None:
        if stage.name not in self._tasks:
            self._tasks[stage.name] = self._progress.add_task(_short(stage.name), total=stage.total, spent="")
        self._progress.update(self._tasks[stage.name], completed=stage.done, total=stage.total, spent=_spent(stage))


def _short(name: str) -> str:
    """A long name without its middle: stages begin with what is done and end with what it is done to."""
    if len(name) <= _NAME_WIDTH:
        return name
    half = _NAME_WIDTH // 2
    return f"{name[:half]}…{name[1 - half :]}"


def _spent(stage: JobStage) -> str:
    return f"{stage.judge_calls:,} calls, {stage.tokens:,} tokens"
