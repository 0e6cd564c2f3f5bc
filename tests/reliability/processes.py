"""`arr` commands that serve, as real processes that a test may kill."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ANNOUNCEMENT = re.compile(r"answers at (http://\S+)")
_START_SECONDS = 60.0


class Process:
    """One `arr …` under way; everything that it says goes into a file."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._name = f"arr {' '.join(arguments)}"
        self._log = folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
        root = str(Path(__file__).parents[2])
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "arr.main", *arguments],
                stdout=log,
                stderr=log,
                env={**inherited, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1", **environment},
                cwd=folder,
            )
        self.url = self._announced_url()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended by itself; returns its exit code."""
        return self._process.wait(timeout=_START_SECONDS)

    def kill(self) -> None:
        """End it at once, as a crash would; again is fine."""
        self._process.kill()
        self._process.wait()

    def _announced_url(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if match := _ANNOUNCEMENT.search(self.log):
                return match[1]
            time.sleep(0.02)
        self.kill()
        pytest.fail(f"{self._name} announced nothing: {self.log}")


@contextmanager
def processes(folder: Path) -> Iterator[list[Process]]:
    """A list for processes; they are killed at the end."""
    started: list[Process] = []
    try:
        yield started
    finally:
        for process in started:
            process.kill()
