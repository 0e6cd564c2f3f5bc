"""One stack for all tests of this folder that leave it as they found it, and what is measured on it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stack.running_stack import RunningStack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """Everything but trainers."""
    with running_stack() as running:
        yield running


@pytest.fixture(scope="session")
def scale() -> int:
    """How many times the ordinary amount of work a test does; as in tests/reliability."""
    return int(os.environ.get("RELIABILITY_SCALE", "1"))


@pytest.fixture
def measured(request: pytest.FixtureRequest, scale: int) -> Iterator[dict[str, Any]]:
    """What a test has to tell; a line of JSON in the file `RELIABILITY_REPORT`, where that names one."""
    told: dict[str, Any] = {}
    begun = time.monotonic()
    yield told
    if path := os.environ.get("RELIABILITY_REPORT"):
        line = {"test": request.node.name, "scale": scale, "seconds": round(time.monotonic() - begun, 1), **told}
        with Path(path).open("a") as report:
            report.write(json.dumps(line) + "\n")
