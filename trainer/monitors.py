"""Where records go. The loop logs to one `Monitor` and does not know how many there are."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from trainer.files import write_whole
from trainer.records import Record


class Monitor(Protocol):
    """Receives every record of a run, in order."""

    def start(self, *, first_step: int, num_steps: int) -> None:
        """The run begins, or goes on, at `first_step`."""
        ...

    def log(self, record: Record) -> None:
        """One step or evaluation is done."""
        ...


class Monitors:
    """Several monitors as one; none of them is fine."""

    def __init__(self, monitors: Sequence[Monitor] = ()) -> None:
        self._monitors = monitors

    def start(self, *, first_step: int, num_steps: int) -> None:
        """Tell all."""
        for monitor in self._monitors:
            monitor.start(first_step=first_step, num_steps=num_steps)

    def log(self, record: Record) -> None:
        """Tell all."""
        for monitor in self._monitors:
            monitor.log(record)


class JsonlMonitor:
    """`metrics.jsonl`: one JSON object per record, flushed at once.

    When a run goes on, what was written after its last checkpoint is dropped: it is about to be computed again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, *, first_step: int, num_steps: int) -> None:
        """Keep the records before `first_step`; a line cut off by a crash is dropped with the rest."""
        kept = [line for line in self._lines() if _is_before(line, first_step)]
        write_whole(self._path, "".join(f"{line}\n" for line in kept).encode())

    def log(self, record: Record) -> None:
        """Append one line."""
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(record), allow_nan=False) + "\n")

    def _lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


def _is_before(line: str, first_step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) < first_step
    except json.JSONDecodeError:
        return False
