"""Fixtures that more than one folder needs: ports, waiting, and one running service.

One BLAS/torch thread per process: tests start services beside themselves, and two processes with two threads each on
two cores run many times slower than with one.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from arr.service_process import running_service

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch; child processes inherit it


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until(condition: Callable[[], bool], *, timeout_seconds: float = 30.0, what: str = "the condition") -> None:
    """Return as soon as `condition()` is true; fail the test after `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {timeout_seconds:g} s")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a loopback port that nobody listens on."""
    return _free_port


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """`wait_until(condition, timeout_seconds=…, what=…)`: polling instead of sleeping."""
    return _wait_until


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of an `arr serve` process with its defaults (SQLite, pixel judge) and a data directory of its own."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder / "data", log=folder / "serve.log") as service:
        yield service.url
