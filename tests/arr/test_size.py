"""`arr size`: what it prints, against sums done by hand, and the documents that quote it."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

ROOT = Path(__file__).parents[2]

CLUSTER = ("--gpus", 64, "--sample-seconds", 1, "--update-seconds", 10)


@pytest.fixture
def lines(arr: Callable[..., Result]) -> Callable[..., dict[str, float]]:
    """`lines(…)` is what `arr size --json …` says of one cluster, by name."""

    def run(*options: object) -> dict[str, float]:
        result = arr("size", *options, "--json")
        assert result.exit_code == 0, result.stderr
        [answer] = json.loads(result.stdout)
        return {line["name"]: line["value"] for line in answer["lines"]}

    return run


def test_a_measured_judge_is_counted_out_by_hand(lines: Callable[..., dict[str, float]]) -> None:
    """8 runs of 8 GPUs: 64 images take 8 s of sampling, and with 10 s of update a step takes 18 s."""
    found = lines(*CLUSTER, "--pairs-per-second", 12.5)
    assert found["images"] == pytest.approx(8 * 64 / 18)
    assert found["pairs"] == pytest.approx(8 * 32 / 18)
    assert found["judge calls"] == pytest.approx(2 * 8 * 32 / 18)  # 28.4 in both orders
    assert found["calls of one replica"] == pytest.approx(25.0)
    assert found["judge replicas"] == 2  # 28.4 / 25 / 0.7 = 1.63
    assert found["utilisation"] == pytest.approx(100 * 28.444 / 50, abs=0.01)
    assert found["service processes"] == 1
    png = 512 * 512 * 1.3 / 1e6
    assert found["trainers → service"] == pytest.approx(8 * 64 / 18 * png)
    assert found["service → judges"] == pytest.approx(28.4444 * 2 * png * 4 / 3, rel=1e-4)
    assert found["trainers' connections"] == 8 * 4
    assert found["new verdicts a day"] == pytest.approx(28.4444 * 86_400 / 1e6, rel=1e-4)


def test_a_group_of_8_has_28_pairs_and_a_tighter_headroom_wants_fewer_judges(
    lines: Callable[..., dict[str, float]],
) -> None:
    options = (*CLUSTER, "--groups", 8, "--candidates", 8, "--pairs-per-second", 12.5, "--wait-share", 0.5)
    found = lines(*options)
    assert found["pairs"] == pytest.approx(8 * 8 * 28 / 18)  # 99.6, so 199.1 calls
    assert found["judge replicas"] == 12  # 199.1 / 25 / 0.7 = 11.4
    assert lines(*options, "--headroom", 0.1)["judge replicas"] == 9  # 8.85
    assert lines(*options, "--orders", "single")["judge replicas"] == 6  # 5.69
    assert lines(*options, "--orders", "adaptive", "--asked-twice", 0.5)["judge replicas"] == 9  # 8.53
    assert lines(*options, "--cache-hits", 0.5)["judge replicas"] == 6


def test_pointwise_asks_each_criterion_about_each_image_and_shares_the_image(
    lines: Callable[..., dict[str, float]],
) -> None:
    options = (*CLUSTER, "--mode", "pointwise", "--candidates", 16)
    five, one = lines(*options, "--criteria", 5), lines(*options, "--criteria", 1)
    assert five["judge calls"] == pytest.approx(5 * one["judge calls"]) == pytest.approx(5 * five["scored images"])
    of_image = 256 + 2  # and its marks
    assert five["tokens of a call"] - 0.2 * 500 == pytest.approx(one["tokens of a call"] - 500, abs=1)
    assert one["read of it"] - five["read of it"] > 0.8 * of_image + 0.8 * 500


def test_waiting_that_is_too_long_takes_more_judges_than_the_work_does(
    lines: Callable[..., dict[str, float]],
) -> None:
    options = (*CLUSTER, "--pairs-per-second", 12.5)
    relaxed, impatient = lines(*options, "--wait-share", 0.5), lines(*options, "--wait-share", 0.015)
    assert relaxed["judge replicas"] < impatient["judge replicas"]
    assert impatient["waiting, share"] <= 1.5 < relaxed["waiting, share"]


def test_several_clusters_make_a_table_and_an_assumed_speed_is_called_assumed(arr: Callable[..., Result]) -> None:
    result = arr("size", "--gpus", "8,64", "--sample-seconds", 1)
    header, rule, first, second = result.stdout.splitlines()
    assert header.startswith("| trainer GPUs | runs | pairs/s |")
    assert rule.count("---") == header.count("|") - 1
    assert (first.split(" | ")[0], second.split(" | ")[0]) == ("| 8", "| 64")
    assert "assumed (20,000 tokens/s)" in result.stderr
    measured = arr("size", *CLUSTER, "--pairs-per-second", 12.5, "--explain")
    assert measured.stderr == ""
    assert "as measured" in measured.stdout
    assert "ASSUMED" in arr("size", *CLUSTER, "--explain").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpus", 8), "give --sample-seconds or --images-per-second, one of them"),
        (("--gpus", 8, "--sample-seconds", 1, "--images-per-second", 1), "one of them"),
        (("--gpus", "many", "--sample-seconds", 1), "--gpus is a number"),
        (("--gpus", 0, "--sample-seconds", 1), "--gpus must be at least 1, got 0"),
        (("--gpus", 8, "--sample-seconds", "nan"), "--sample-seconds must be above 0, got nan"),
        (("--gpus", 8, "--sample-seconds", 0), "--sample-seconds must be above 0"),
        ((*CLUSTER, "--update-seconds", -1), "--update-seconds must not be negative"),
        ((*CLUSTER, "--candidates", 9), "2 to 8 candidates are compared pairwise, not 9; --mode pointwise"),
        ((*CLUSTER, "--candidates", 1), "not 1"),
        ((*CLUSTER, "--image", "big"), "--image is width x height in pixels, such as 512x512; got 'big'"),
        ((*CLUSTER, "--image", "9000x10"), "larger than what the service takes"),
        ((*CLUSTER, "--headroom", 1), "--headroom is a share from 0 to 0.99, got 1"),
        ((*CLUSTER, "--pairs-per-second", 1, "--tokens-per-second", 1), "not both"),
        ((*CLUSTER, "--pairs-per-second", 1, "--mode", "pointwise"), "give --tokens-per-second"),
    ],
)
def test_what_cannot_be_counted_is_said_in_one_line(
    options: tuple[object, ...], said: str, arr: Callable[..., Result]
) -> None:
    result = arr("size", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


def test_a_wait_that_no_number_of_judges_shortens_is_named(arr: Callable[..., Result]) -> None:
    result = arr("size", "--gpus", 8, "--sample-seconds", 0.01, "--wait-share", 0.05)
    assert result.exit_code == 1
    assert "with any number of judges" in result.stderr
    assert result.stderr.count("\n") == 1


def test_its_steps_are_those_that_the_trainer_takes_by_default(lines: Callable[..., dict[str, float]]) -> None:
    from trainer.config import RolloutConfig

    usual = RolloutConfig()
    told = ("--groups", usual.prompts_per_step, "--candidates", usual.candidates)
    assert lines(*CLUSTER) == lines(*CLUSTER, *told, "--micro-batches", usual.micro_batches)


def test_every_table_in_the_guide_is_what_the_command_prints(arr: Callable[..., Result]) -> None:
    guide = (ROOT / "docs" / "deployment.md").read_text()
    shown = re.findall(r"```bash\narr (size [^\n]*,[^\n]*)\n```\n\n((?:\|[^\n]*\n)+)", guide)
    assert shown
    for command, table in shown:
        assert arr(*shlex.split(command)).stdout == table, command


def test_every_command_in_the_guide_works(arr: Callable[..., Result]) -> None:
    guide = (ROOT / "docs" / "deployment.md").read_text()
    commands = re.findall(r"^arr (size [^#\n]*)", guide, re.MULTILINE)
    assert commands
    for command in commands:
        result = arr(*shlex.split(command))
        assert result.exit_code == 0, result.stderr
