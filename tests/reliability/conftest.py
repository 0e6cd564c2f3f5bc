"""A service under fault, its judges, and what is measured of it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from services.telemetry import configure_logging
from tests.reliability.processes import Process, processes
from tests.reliability.questions import margins
from tests.reliability.running_service import Ear, Service, service_running

Running = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture(scope="session", autouse=True)
def _truth() -> None:
    margins()  # found on an event loop of its own, before any test has one


@pytest.fixture
def ear() -> Iterator[Ear]:
    """Every test of this folder fails when a secret was told: the service logs as it does at its most talkative."""
    ear, root = Ear(), logging.getLogger()
    handlers = root.handlers
    levels = {logger: logger.level for logger in map(logging.getLogger, ("", *root.manager.loggerDict))}
    configure_logging("DEBUG")
    root.handlers = [*handlers, ear]
    yield ear
    root.handlers = handlers
    for logger, level in levels.items():
        logger.setLevel(level)
    assert ear.leaks == []
    assert ear.num_heard > 0


@pytest.fixture
def running(serving: Callable[..., AbstractContextManager[str]], tmp_path: Path, ear: Ear) -> Running:
    """`async with running(judge_url, …, num_tenants=1, setting=…) as service`."""
    numbers = count()

    def run(*judge_urls: str, **options: Any) -> AbstractAsyncContextManager[Service]:
        folder = tmp_path / f"service-{next(numbers)}"
        folder.mkdir()
        return service_running(serving, folder, ear, *judge_urls, **options)

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """`start("pixel-judge", "--port", "0", …, ARR_…="…")`: a process that answers at its `url`."""
    with processes(tmp_path) as started:

        def run(*arguments: str, **environment: str) -> Process:
            started.append(Process(tmp_path, *arguments, **environment))
            return started[-1]

        yield run
