"""`python -m deploy.stack` as a real process whose processes a test may kill."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w

ROOT = Path(__file__).parents[2]
STACK = ROOT / "deploy" / "stack"

_PATIENCE_SECONDS = 150.0
"""For anything that takes seconds on an idle machine."""


class RunningStack:
    """A stack under way; everything that it says is in `output`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder / "stack"
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.stack", "--folder", str(self.folder), *arguments],
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def url(self) -> str:
        """Where nginx answers."""
        return self.url_of("stack")

    def said(self, name: str) -> list[str]:
        """What one process has said so far, and what was said of it."""
        return re.findall(rf"^{re.escape(name)} +\| (.*)$", self.output, re.MULTILINE)

    def pid(self, name: str) -> int:
        """Of its newest incarnation."""
        return int(self._newest(name, r"^is process (\d+)$"))

    def pids(self) -> list[int]:
        """All there ever were."""
        return [int(pid) for pid in re.findall(r"\| is process (\d+)$", self.output, re.MULTILINE)]

    def url_of(self, name: str) -> str:
        """Where the newest incarnation answers."""
        return self._newest(name, r"answers at (http://[^ ]+)")

    def starts(self, name: str, *, ready: str) -> int:
        """How often it got ready."""
        return sum(ready in line for line in self.said(name))

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one process, by its id."""
        os.kill(self.pid(name), number)

    def until(self, condition: Callable[[], bool], *, what: str, seconds: float = _PATIENCE_SECONDS) -> None:
        """Wait for something while the stack lives."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no {what}:\n{self.output[-6000:]}")
            time.sleep(0.05)

    def until_started(self) -> None:
        self.until(lambda: self.starts("stack", ready="answers at") == 1, what="stack")

    def stop(self) -> int:
        """Stop it as Ctrl-C does; returns its exit code, after all that it started has ended. Again is fine."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=_PATIENCE_SECONDS)
        assert [pid for pid in self.pids() if is_running(pid)] == []
        return code

    def _newest(self, name: str, pattern: str) -> str:
        found = [match[1] for line in self.said(name) if (match := re.search(pattern, line))]
        assert found, f"{name} has not said {pattern}"
        return str(found[-1])


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not just waiting for somebody to hear of its end."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short path, for sockets, that other users may enter: when root runs the tests, some will."""
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_stack(*arguments: str) -> Iterator[RunningStack]:
    """The shipped process file on free ports, from ready to stopped."""
    _need("nginx", "redis-server")
    with short_folder() as folder:
        stack = RunningStack(folder, "--port", "public=0", *arguments)
        try:
            stack.until_started()
            yield stack
        finally:
            stack.stop()


def changed_file(folder: Path, **commands: str) -> Path:
    """A copy of the shipped process file in which these processes have something added to their commands."""
    values: dict[str, Any] = tomllib.loads((STACK / "stack.toml").read_text())
    for process in values["process"]:
        process["command"] += f" {commands.pop(process['name'], '')}"
    assert not commands
    shutil.copy(STACK / "nginx.conf", folder)
    path = folder / "stack.toml"
    path.write_text(tomli_w.dumps(values))
    return path


def _need(*programs: str) -> None:
    path = os.pathsep.join([*os.get_exec_path(), "/usr/sbin"])
    postgres = list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb")
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    missing += [] if postgres else ["postgresql"]
    if missing:
        sentence = (
            f"not installed: {', '.join(missing)}; on Debian: apt-get install nginx-light redis-server postgresql"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
