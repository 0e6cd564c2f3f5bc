"""`arr judge` against a running service with the pixel judge."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from arr.judge import log_odds_of_orders, result_rows
from shared_schemas.reward import GroupResult, PairVerdict, Status


@pytest.fixture
def judge(arr: Callable[..., Result], service_url: str, rubric_file: Path) -> Callable[..., Result]:
    """`arr judge` with a rubric about colour and shape, at its alias."""
    arr("rubrics", "publish", "cli-judge", rubric_file, "--url", service_url)
    arr("rubrics", "alias", "cli-judge", "production", 1, "--url", service_url)
    return lambda *arguments: arr("judge", *arguments, "--rubric", "cli-judge@production", "--url", service_url)


def test_the_picture_that_shows_the_prompt_wins(
    judge: Callable[..., Result], red_circle: Path, blue_square: Path
) -> None:
    result = judge(red_circle, blue_square, "--prompt", "a red circle")
    assert result.exit_code == 0, result.output
    rows = dict(line.split("  ", 1) for line in result.output.splitlines())
    assert rows["winner"].strip() == "red_circle.png"
    assert rows["rewards"].strip() == "+1, -0.1"
    assert "both orders agree" in rows["position bias"]


def test_swapping_the_pictures_swaps_the_rewards_and_negates_the_margin(
    judge: Callable[..., Result], red_circle: Path, blue_square: Path
) -> None:
    forward = json.loads(judge(red_circle, blue_square, "--prompt", "a red circle", "--json").output)["results"][0]
    backward = json.loads(judge(blue_square, red_circle, "--prompt", "a red circle", "--json").output)["results"][0]
    assert forward["rewards"] == [1.0, -0.1]
    assert backward["rewards"] == [-0.1, 1.0]
    assert backward["pairs"][0]["margin"] == -forward["pairs"][0]["margin"]


def test_a_picture_against_itself_is_a_tie(judge: Callable[..., Result], red_circle: Path) -> None:
    result = judge(red_circle, red_circle, "--prompt", "a red circle")
    assert result.exit_code == 0, result.output
    assert "none: a tie" in result.output
    assert "rewards" not in result.output


def test_the_two_orders_are_bias_plus_and_minus_margin() -> None:
    # m = (l_12 − l_21)/2 = 1.5 and b = (l_12 + l_21)/2 = 0.25, for l_12 = 1.75 and l_21 = −1.25
    verdict = PairVerdict(
        first=0, second=1, margin=1.5, p_first=0.8, position_bias=0.25, consistent=True, label_mass=1.0, cached=False
    )
    assert log_odds_of_orders(verdict) == (1.75, -1.25)
    assert log_odds_of_orders(verdict.model_copy(update={"position_bias": None, "consistent": None})) is None


def test_a_judge_without_log_probabilities_is_shown_to_have_chosen_and_no_more() -> None:
    verdict = PairVerdict(
        first=0, second=1, winner=1, margin=None, p_first=None, position_bias=None, consistent=True, label_mass=None,
        cached=False,
    )  # fmt: skip
    result = GroupResult(id="pair", status=Status.SCORED, rewards=(-0.1, 1.0), ranks=(2, 1), pairs=(verdict,))
    assert dict(result_rows(result, ("a.png", "b.png"))) == {
        "winner": "b.png",
        "rewards": "-0.1, +1",
        "margin": "none: the judge gives no log-probabilities",
        "orders": "both orders agree",
    }


def test_one_order_is_asked_when_one_is_enough(
    judge: Callable[..., Result], red_circle: Path, blue_square: Path
) -> None:
    result = judge(red_circle, blue_square, "--prompt", "a red circle, asked once", "--orders", "single")
    assert result.exit_code == 0, result.output
    assert "unknown; one order was asked" in result.output
    assert "shown first" not in result.output
    assert "(1 calls)" in result.output


def test_each_criterion_says_how_well_it_is_met(
    judge: Callable[..., Result], red_circle: Path, blue_square: Path
) -> None:
    result = judge(red_circle, blue_square, "--prompt", "a red circle", "--per-criterion", "--json")
    red, blue = json.loads(result.output)["results"][0]["criteria"]
    shown = judge(red_circle, blue_square, "--prompt", "a red circle", "--per-criterion").output
    rows = dict(line.split("  ", 1) for line in shown.splitlines())
    for criterion in ("colour", "shape"):
        expected = f"red_circle.png {red['scores'][criterion]:.3f}, blue_square.png {blue['scores'][criterion]:.3f}"
        assert rows[f"meets {criterion}"].strip() == expected


def test_pictures_can_be_looked_at_one_by_one(
    judge: Callable[..., Result], red_circle: Path, blue_square: Path
) -> None:
    result = judge(red_circle, blue_square, "--prompt", "a red circle", "--mode", "pointwise")
    assert result.exit_code == 0, result.output
    rows = dict(line.split("  ", 1) for line in result.output.splitlines())
    assert rows["winner"].strip() == "red_circle.png"
    assert rows["scores"].strip().startswith("red_circle.png ")
    assert "margin" not in rows


@pytest.mark.parametrize("arguments", [(), ("one",), ("one", "two"), ("--prompt", "a red circle")])
def test_pictures_and_prompt_are_needed(judge: Callable[..., Result], red_circle: Path, arguments) -> None:
    result = judge(*(red_circle if argument in {"one", "two"} else argument for argument in arguments))
    assert result.exit_code == 2
    assert "give two pictures and a --prompt" in result.stderr


def test_a_file_that_is_no_png_is_named_before_anything_is_sent(
    judge: Callable[..., Result], red_circle: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    result = judge(red_circle, text, "--prompt", "a red circle")
    assert result.exit_code == 2
    assert "notes.png is not a PNG file" in result.stderr


def test_a_damaged_png_is_refused_by_the_service_in_one_line(
    judge: Callable[..., Result], red_circle: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(red_circle.read_bytes()[:-30])
    result = judge(red_circle, damaged, "--prompt", "a red circle")
    assert result.exit_code == 1
    assert "invalid-image" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("prompt", ["", "a \x00 in the middle"])
def test_a_prompt_that_cannot_be_sent_is_a_usage_error(
    judge: Callable[..., Result], red_circle: Path, blue_square: Path, prompt: str
) -> None:
    result = judge(red_circle, blue_square, "--prompt", prompt)
    assert result.exit_code == 2
    assert "prompt" in result.stderr


def test_a_file_that_does_not_exist_is_a_usage_error(judge: Callable[..., Result], red_circle: Path) -> None:
    result = judge(red_circle, "nowhere.png", "--prompt", "a red circle")
    assert result.exit_code == 2
    assert "nowhere.png" in result.stderr


def test_an_unknown_rubric_is_refused_by_name(
    arr: Callable[..., Result], service_url: str, red_circle: Path, blue_square: Path
) -> None:
    result = arr("judge", red_circle, blue_square, "--prompt", "x", "--rubric", "nobody@3", "--url", service_url)
    assert result.exit_code == 1
    assert "unknown-rubric" in result.stderr


def test_no_service_at_the_url_is_said_with_the_next_step(
    arr: Callable[..., Result], red_circle: Path, blue_square: Path
) -> None:
    result = arr("judge", red_circle, blue_square, "--prompt", "x", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "is `arr serve` running at http://127.0.0.1:9?" in result.stderr
