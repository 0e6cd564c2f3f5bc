"""Examining real pixel judges."""

import math
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from services.judging.backend import BackendError, OpenAIBackend
from services.judging.checkup import CheckUp, check_up
from services.judging.ladder import Capability
from services.judging.pixel_judge import Overflow, PixelJudgeSettings, create_pixel_judge_app


def backend(**settings: Any) -> OpenAIBackend:
    return OpenAIBackend.in_process(create_pixel_judge_app(PixelJudgeSettings(**settings)))


def nobody() -> OpenAIBackend:
    return OpenAIBackend.in_process(PlainTextResponse("away", 503))


async def examine(*backends: OpenAIBackend, num_pairs: int = 2, num_repeats: int = 2) -> CheckUp:
    return await check_up(
        backends, num_pairs=num_pairs, num_repeats=num_repeats, max_window=16, on_judged=lambda _done, _total: None
    )


async def test_a_steady_judge_is_described_and_has_no_noise() -> None:
    checked = await examine(backend(position_bias=0.25, model="mine", label_mass=0.9))
    (replica,) = checked.replicas
    assert (replica.problem, replica.model, replica.capability) == (None, "mine", Capability.LABEL_LOG_PROBS)
    assert (replica.asked_with, replica.takes_priority, replica.has_metrics) == ("logprob_token_ids", True, True)
    measured = checked.reliability
    assert measured.noise == pytest.approx(0.0, abs=1e-9)
    assert measured.mean_position_bias == pytest.approx(0.25)
    assert measured.position_bias_bound == 0.25
    assert measured.min_label_mass == pytest.approx(0.9)
    assert measured.num_calls == 2 * 2 * 2
    assert (measured.consistent_share, measured.stable_share) == (1.0, 1.0)


async def test_fresh_noise_of_each_order_is_found_again_in_the_margins() -> None:
    checked = await examine(backend(noise=0.4, fresh_noise=True), num_pairs=12, num_repeats=20)
    expected = 0.4 / math.sqrt(2)  # the margin is half the difference of two of them
    assert checked.reliability.noise == pytest.approx(expected, rel=0.15)  # 228 degrees of freedom: 3 σ = 14 %


async def test_a_judge_that_is_off_topic_is_measured_all_the_same() -> None:
    assert (await examine(backend(label_mass=0.01))).reliability.min_label_mass == pytest.approx(0.01)


async def test_a_judge_without_log_probabilities_is_described() -> None:
    checked = await examine(backend(log_probs=False))
    (replica,) = checked.replicas
    assert (replica.capability, replica.takes_priority) == (Capability.CHOICE, False)
    assert (checked.reliability.noise, checked.reliability.consistent_share) == (None, 1.0)


async def test_equal_replicas_share_the_work_and_others_are_named() -> None:
    checked = await examine(backend(), backend(), nobody(), backend(scale=2.0))
    problems = [replica.problem for replica in checked.replicas]
    assert problems == [None, None, problems[2], "it serves another judge than the other replicas"]
    assert problems[2] is not None
    assert "503" in problems[2]
    assert checked.reliability.num_calls == 8


async def test_without_any_replica_every_reason_is_told() -> None:
    with pytest.raises(BackendError, match=r"in-process: .*503.*; in-process: .*503"):
        await examine(nobody(), nobody())


async def test_a_pair_that_is_not_judged_ends_the_check() -> None:
    judge = create_pixel_judge_app(PixelJudgeSettings())

    async def answers_nothing_but_the_probe(scope: Any, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        unread = [{"type": "http.request", "body": body}]

        async def again() -> Any:
            return unread.pop() if unread else await receive()

        app: Any = PlainTextResponse("no", 400) if b"a red circle" in body else judge
        await app(scope, again, send)

    with pytest.raises(BackendError) as failure:
        await examine(OpenAIBackend.in_process(answers_nothing_but_the_probe))
    assert failure.value.type == "judge-refused"


async def test_progress_counts_verdicts() -> None:
    seen: list[tuple[int, int]] = []
    await check_up(
        [backend()], num_pairs=2, num_repeats=2, max_window=16, on_judged=lambda done, total: seen.append((done, total))
    )
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


async def test_no_more_calls_are_under_way_than_the_window_allows() -> None:
    checked = await check_up(
        [backend(capacity=2, overflow=Overflow.REFUSE, latency_ms=1)],
        num_pairs=6, num_repeats=2, max_window=2, on_judged=lambda _done, _total: None,
    )  # fmt: skip
    assert checked.reliability.num_calls == 24  # none was refused and tried again
