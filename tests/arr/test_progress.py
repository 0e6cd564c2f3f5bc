import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from rich.console import Console
from stamina.instrumentation import RetryDetails, get_on_retry_hooks

from arr.progress import RunProgress
from reward_client import RetryPolicy, RewardClient, ServiceUnavailable


def _details(wait: float) -> RetryDetails:
    cause = ServiceUnavailable("no answer from the service: Connection refused")
    return RetryDetails("call", (), {}, retry_num=1, wait_for=wait, waited_so_far=0.0, caused_by=cause)


def test_an_outage_is_told_in_readable_lines_and_the_former_hooks_come_back(free_port: Callable[[], int]) -> None:
    former = get_on_retry_hooks()
    output = io.StringIO()
    patience = RetryPolicy(attempts=2, wait_initial=timedelta(milliseconds=1))
    with (
        RunProgress(Console(file=output, width=200)),
        RewardClient(f"http://127.0.0.1:{free_port()}", retries=patience) as client,
    ):
        assert get_on_retry_hooks() != former
        with pytest.raises(ServiceUnavailable):
            client.readiness()
    assert "no answer from the service: [Errno 111] Connection refused; trying again in 0.0 s\n" in output.getvalue()
    assert get_on_retry_hooks() == former


def test_requests_that_fail_together_are_one_line() -> None:
    output = io.StringIO()
    with RunProgress(Console(file=output, width=200)):
        (hook,) = get_on_retry_hooks()
        for wait in (5.0, 5.2, 4.9):
            hook(_details(wait))
    assert output.getvalue().count("trying again") == 1
    assert "Connection refused; trying again in 5.0 s" in output.getvalue()
