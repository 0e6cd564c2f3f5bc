"""What people see while it takes long, on standard error: rows, rows per second, and how long it will take."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text


class _RowsColumn(ProgressColumn):
    """`1,234 rows, 56.7 rows/s`."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn`."""
        rows = task.fields["rows"]
        rate = f", {rows / task.elapsed:,.1f} rows/s" if task.elapsed else ""
        return Text(f"{rows:,} rows{rate}", style="dim")


@contextmanager
def uploading(*, num_images: int, num_bytes: int) -> Iterator[None]:
    """Say on a terminal that an upload takes its time: the service decodes every image before it answers."""
    screen = Console(file=sys.stderr)
    message = f"uploading {num_images:,} images, {decimal(num_bytes)}"
    with screen.status(message) if screen.is_terminal else nullcontext():
        yield


class ReadingProgress:
    """Draws on a terminal; elsewhere it is silent."""

    def __init__(self, *, num_bytes: int, limit: int | None, console: Console | None = None) -> None:
        """The files have `num_bytes`; reading ends after `limit` rows, if that comes first."""
        screen = console or Console(file=sys.stderr)
        columns = (
            *(TextColumn("{task.description:<10}"), BarColumn(bar_width=30), TaskProgressColumn(), _RowsColumn()),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._progress = Progress(*columns, console=screen, disable=not screen.is_terminal)
        self._choosing = self._progress.add_task("choosing", total=num_bytes, visible=False, rows=0)
        self._reading = self._progress.add_task("reading", total=limit or num_bytes, rows=0, start=False)
        self._counts_rows = limit is not None
        self._num_rows = 0

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def choosing(self, num_bytes: int) -> None:
        """So many bytes are read to choose a sample."""
        self._progress.update(self._choosing, completed=num_bytes, visible=True)

    def tick(self, num_bytes: int) -> None:
        """So many bytes are read."""
        if not self._counts_rows:
            self._progress.update(self._reading, completed=num_bytes)

    def row(self) -> None:
        """A row was taken."""
        self._progress.start_task(self._reading)
        self._num_rows += 1
        self._progress.update(self._reading, rows=self._num_rows)
        if self._counts_rows:
            self._progress.update(self._reading, completed=self._num_rows)
