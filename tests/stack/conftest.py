"""One stack for all tests of this folder that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.stack.running_stack import RunningStack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """Everything but trainers."""
    with running_stack() as running:
        yield running
