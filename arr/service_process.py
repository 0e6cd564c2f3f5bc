"""The reward service as a real process on a loopback port, for as long as a `with` block lasts."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

START_SECONDS = 60.0
"""How long the service may take to get ready."""

STOP_SECONDS = 10.0
"""How long it may take to answer the requests in flight; nobody waits for those answers any more."""


class ServiceDidNotStartError(RuntimeError):
    """The process ended or stayed silent; the message ends with the last lines of its log."""


class ServiceProcess:
    """A started `arr serve`."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url = url
        self.log = log
        self._process = process

    def stop(self) -> None:
        """Ask it to end, wait until it has, and end it the hard way when it takes too long; again is fine."""
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_until_ready(self) -> None:
        """Return when it answers requests. Raises `ServiceDidNotStartError` when it never will."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServiceDidNotStartError(f"`arr serve` ended with code {self._process.returncode}: {self._tail()}")
            if self._is_ready():
                return
            time.sleep(0.1)
        raise ServiceDidNotStartError(f"`arr serve` was not ready after {START_SECONDS:.0f} s: {self._tail()}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2.0, trust_env=False).is_success
        except httpx.TransportError:
            return False  # not listening yet

    def _tail(self, num_lines: int = 5) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-num_lines:])


@contextmanager
def running_service(
    data_dir: Path, *, log: Path, settings: Mapping[str, str] | None = None
) -> Iterator[ServiceProcess]:
    """Start `arr serve` with embedded defaults, wait until it is ready, and stop it by pid at the end.

    It computes on one thread: two busy processes with two threads each on two cores are many times slower than with
    one. Settings of the caller's environment are left out, so that the demo is the same for everybody; `settings` are
    those that it gets, by the names of their environment variables.
    """
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(settings or {})}
    command = [sys.executable, "-m", "arr.main", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        # A session of its own: Ctrl-C in the terminal is for the trainer, which needs rewards to finish its step.
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    service = ServiceProcess(f"http://127.0.0.1:{port}", process, log)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
