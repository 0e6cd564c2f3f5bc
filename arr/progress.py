"""Long work as people watch it: a bar per stage, the numbers that matter beside training, a line per evaluation."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from arr.retry_lines import announcing_retries
from trainer.records import AlarmRecord, ChangeRecord, EvaluationRecord, Record, StepRecord, WinRate


class RunProgress:
    """Draws on a terminal. Its `start` and `log` make it a `trainer.monitors.Monitor`.

    While it draws, a request that is tried again is a line above the bar, in place of stamina's log.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._num_steps = 0
        self._drawing = ExitStack()

    def __enter__(self) -> Self:
        """Start drawing."""
        self._drawing.enter_context(announcing_retries(self.announce))
        self._drawing.enter_context(self._progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._drawing.close()

    def stage(self, stage: str, done: int, total: int, *, note: str = "") -> None:
        """Show that `done` of `total` units of a stage are done."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, note="")
        self._progress.update(self._tasks[stage], completed=done, total=total, note=note)

    def announce(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False)

    def start(self, *, first_step: int, num_steps: int) -> None:
        """See `Monitor.start`."""
        self._num_steps = num_steps
        self.stage("training", first_step, num_steps)

    def log(self, record: Record) -> None:
        """See `Monitor.log`."""
        match record:
            case StepRecord():
                self.stage("training", record.step + 1, self._num_steps, note=_step_note(record))
            case EvaluationRecord():
                self.announce(_evaluation_line(record))
            case AlarmRecord():
                self.announce(_alarm_line(record))
            case ChangeRecord():
                pass  # the trainer's first line says so


def _evaluation_line(record: EvaluationRecord) -> str:
    rate = record.overall
    line = f"step {record.step:>5}: win rate against the base {rate.win_rate:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
    if record.held_out is not None:
        line += f", held out {record.held_out.win_rate:.3f}"
    if record.held_out_judge is not None:
        line += f"; held-out judge {_rate(record.held_out_judge.overall)}"
    if record.diversity is not None and record.diversity.relative is not None:
        line += f"; diversity {record.diversity.relative:.0%} of the base's"
    return line + (f"; {record.failed} pairs not judged" if record.failed else "")


def _rate(rate: WinRate | None) -> str:
    return "away" if rate is None else f"{rate.win_rate:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def _alarm_line(record: AlarmRecord) -> str:
    return (
        f"step {record.step:>5}: ALARM, the judges part: since step {record.since_step} the training judge's win rate "
        f"changed by {record.training_change:+.3f}, the held-out judge's by {record.held_out_change:+.3f} "
        f"(p {record.p_value:.1g})"
    )


def _step_note(record: StepRecord) -> str:
    verdicts = record.verdicts
    note = f"scored {verdicts.scored} tied {verdicts.tied}"
    if verdicts.failed:
        note += f" failed {verdicts.failed}"
    return f"{note}, judge wait {record.judge_wait_fraction:.0%}, {record.seconds.total:.1f} s/step"
