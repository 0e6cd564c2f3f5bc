"""`arr judge-check` against pixel judges over real HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.requests import Request
from typer.testing import Result

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app

INTERRUPTED = 130


@pytest.fixture
def check(arr: Callable[..., Result]) -> Callable[..., Result]:
    """`check(url, …)` with few pairs."""
    return lambda *urls, options=(): arr(
        "judge-check", "--judge-url", ",".join(urls), "--pairs", 2, "--repeats", 2, *options
    )


def pixel_judge(**settings: Any) -> Any:
    return create_pixel_judge_app(PixelJudgeSettings(**settings))


def test_a_judge_is_described_and_ends_in_lines_to_paste(
    check: Callable[..., Result], serve: Callable[..., str]
) -> None:
    url = serve(pixel_judge(model="mine", position_bias=0.25))
    result = check(url)
    assert result.exit_code == 0, result.stderr
    for said in (url.removeprefix("http://"), "mine", "label-log-probs", "logprob_token_ids", "8 calls"):
        assert said in result.stdout
    assert re.search(r"position bias +\+0\.250 nats", result.stdout)
    assert result.stdout.endswith("\nARR_TIE_MARGIN=0.02\nARR_POSITION_BIAS_BOUND=0.25\n")
    assert "warning" not in result.stderr


def test_json_has_every_replica_and_every_number(check: Callable[..., Result], serve: Callable[..., str]) -> None:
    result = check(serve(pixel_judge()), serve(pixel_judge()), options=["--json"])
    answer = json.loads(result.stdout)
    assert [replica["problem"] for replica in answer["replicas"]] == [None, None]
    first, second = (replica["fingerprint"] for replica in answer["replicas"])
    assert first == second
    assert (answer["reliability"]["num_calls"], answer["reliability"]["consistent_share"]) == (8, 1.0)
    assert answer["settings"] == {"ARR_TIE_MARGIN": 0.02, "ARR_POSITION_BIAS_BOUND": 0.0}
    assert answer["warnings"] == []


def test_a_noisy_judge_gets_a_wide_tie_margin(check: Callable[..., Result], serve: Callable[..., str]) -> None:
    answer = json.loads(check(serve(pixel_judge(noise=0.5, fresh_noise=True)), options=["--json"]).stdout)
    noise = answer["reliability"]["noise"]
    assert noise > 0.02
    assert answer["settings"]["ARR_TIE_MARGIN"] == pytest.approx(3 * noise, abs=0.001)


def test_a_low_label_mass_is_warned_of_with_what_to_do(check: Callable[..., Result], serve: Callable[..., str]) -> None:
    result = check(serve(pixel_judge(label_mass=0.2)))
    assert result.exit_code == 0
    assert "warning: the label mass was 0.2 at its smallest; below 0.5 (ARR_MIN_LABEL_MASS)" in result.stderr
    assert "chat template" in result.stderr


def test_a_judge_without_log_probabilities_is_warned_of_and_gets_no_settings(
    check: Callable[..., Result], serve: Callable[..., str]
) -> None:
    result = check(serve(pixel_judge(log_probs=False)))
    assert result.exit_code == 0
    assert "warning: The judge gives no log-probabilities" in result.stderr
    assert "choice" in result.stdout
    assert "ARR_" not in result.stdout


def test_a_replica_that_is_away_is_named_and_the_others_are_examined(
    check: Callable[..., Result], serve: Callable[..., str], free_port: Callable[[], int]
) -> None:
    away = f"127.0.0.1:{free_port()}"
    result = check(serve(pixel_judge()), f"http://{away}")
    assert result.exit_code == 1
    assert "ARR_TIE_MARGIN=0.02" in result.stdout
    assert f"1 of 2 replicas cannot take part: {away}: the judge cannot be reached" in result.stderr


def test_a_judge_that_is_away_is_one_line(check: Callable[..., Result], free_port: Callable[[], int]) -> None:
    result = check(f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the judge cannot be checked (judge-unavailable): 127.0.0.1:")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_judge_that_can_be_asked_in_no_way_is_one_line(
    check: Callable[..., Result], serve: Callable[..., str]
) -> None:
    result = check(serve(pixel_judge(error_rate=1.0, error_status=400)))
    assert result.exit_code == 1
    assert "cannot be checked" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_model_that_is_not_served_is_named_with_those_that_are(
    check: Callable[..., Result], serve: Callable[..., str]
) -> None:
    result = check(serve(pixel_judge(model="mine")), options=["--model", "theirs"])
    assert result.exit_code == 1
    assert "'theirs'; it serves mine" in result.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--judge-url", "gpu-1:8000"], "ARR_JUDGE_URLS"),
        (["--pairs", 61], "--pairs"),
        (["--repeats", 1], "--repeats"),
    ],
)
def test_options_that_cannot_be_are_usage_errors(
    arr: Callable[..., Result], options: list[object], complaint: str
) -> None:
    result = arr("judge-check", *options)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_without_a_url_the_built_in_judge_is_examined(arr: Callable[..., Result]) -> None:
    answer = json.loads(arr("judge-check", "--pairs", 60, "--repeats", 2, "--json").stdout)
    assert answer["replicas"][0]["name"] == "in-process"
    assert answer["reliability"]["num_pairs"] == 60


class Stalling:
    """Answers the probe, and holds every other question until its client goes."""

    def __init__(self) -> None:
        self.holds_a_question = Event()
        self._judge = pixel_judge()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._judge(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        unread = [{"type": "http.request", "body": body}]

        async def again() -> Any:
            return unread.pop() if unread else await receive()

        if b"a red circle" in body:
            self.holds_a_question.set()
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await self._judge(scope, again, send)


def test_ctrl_c_stops_in_order(serve: Callable[..., str], tmp_path: Path) -> None:
    judge = Stalling()
    process = subprocess.Popen(
        [sys.executable, "-m", "arr.main", "judge-check", "--judge-url", serve(judge)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert judge.holds_a_question.wait(timeout=60)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == INTERRUPTED
    assert output == ""
    assert "stopped" in errors
    assert "Traceback" not in errors
