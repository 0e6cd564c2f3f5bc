import io
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from rich.console import Console
from stamina.instrumentation import RetryDetails, get_on_retry_hooks

from arr.progress import RunProgress
from reward_client import RetryPolicy, RewardClient, ServiceUnavailable
from trainer.records import AlarmRecord, Diversity, EvaluationRecord, HeldOutJudge, WinRate


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


def test_a_wait_says_since_when() -> None:
    output = io.StringIO()
    with RunProgress(Console(file=output, width=200)):
        (hook,) = get_on_retry_hooks()
        for _ in range(2):
            hook(_details(wait=0.0))
    first, second = (line for line in output.getvalue().splitlines() if "trying again" in line)
    assert first.endswith("Connection refused; trying again in 0.0 s")
    assert re.search(r"Connection refused; waiting since \d\d:\d\d:\d\d, trying again in 0.0 s$", second)


def test_requests_that_fail_together_are_one_line() -> None:
    output = io.StringIO()
    with RunProgress(Console(file=output, width=200)):
        (hook,) = get_on_retry_hooks()
        for wait in (5.0, 5.2, 4.9):
            hook(_details(wait))
    assert output.getvalue().count("trying again") == 1
    assert "Connection refused; trying again in 5.0 s" in output.getvalue()


def _evaluation(held_out: WinRate | None) -> EvaluationRecord:
    return EvaluationRecord(
        step=10,
        overall=WinRate(wins=3, ties=0, losses=1, win_rate=0.75, low=0.3, high=0.95, mean_margin=None),
        held_out=None,
        held_out_judge=HeldOutJudge(
            rubric_digest="d", judge_fingerprint="f", overall=held_out, failed=0, problem=None if held_out else "away"
        ),
        diversity=Diversity(base=0.5, tuned=0.4, relative=0.8, lowest=0.1),
        failed=2,
        is_average=False,
        seconds=1.0,
    )


def test_both_judges_and_an_alarm_are_told_in_a_line_each() -> None:
    output = io.StringIO()
    rate = WinRate(wins=1, ties=0, losses=3, win_rate=0.25, low=0.05, high=0.7, mean_margin=None)
    with RunProgress(Console(file=output, width=300)) as progress:
        progress.start(first_step=0, num_steps=20)
        progress.log(_evaluation(rate))
        progress.log(_evaluation(None))
        progress.log(AlarmRecord(step=10, since_step=5, training_change=0.1, held_out_change=-0.25, p_value=0.0002))
    lines = output.getvalue()
    assert (
        "step    10: win rate against the base 0.750 [0.300, 0.950]; held-out judge 0.250 [0.050, 0.700]; "
        "diversity 80% of the base's; 2 pairs not judged\n"
    ) in lines
    assert "held-out judge away;" in lines
    assert "ALARM, the judges part: since step 5 the training judge's win rate changed by +0.100" in lines
    assert "the held-out judge's by -0.250 (p 0.0002)" in lines
