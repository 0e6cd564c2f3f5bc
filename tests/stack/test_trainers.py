"""The whole topology with three trainers at once, while a replica of the service and a judge are killed."""

import base64
import json
import signal
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from arr.demo.tiny_flux import build_random_tiny_flux, fingerprint
from arr.replay import compare
from reward_client import CandidateGroup, RewardClient
from shared_schemas.judgements import Judgement
from shared_schemas.reward import CachePolicy
from shared_schemas.rubrics import Criterion, RubricContent
from tests.stack.running_stack import RunningStack, changed_file, running_stack, short_folder
from trainer.evaluation.win_rates import wilson_interval

TRAINERS = ("trainer-1", "trainer-2", "trainer-3")

RUBRIC = RubricContent(
    task="t2i", criteria=(Criterion(id="brightness", theme="Brightness", tips=("The image is bright.",)),)
)

KILLED = ("api-1", "judge-1")

STEPS = 16

NUM_REPLAYED = 40
"""Judgements that are judged again and compared."""

OVERRIDES = (
    f"steps={STEPS}",
    "rollout.prompts_per_step=16",
    "optimizer.learning_rate=1e-2",
    "optimizer.warmup_steps=2",
    "reward.tie_margin=0.0",
    f"evaluation.every={STEPS}",
    "evaluation.images_per_prompt=4",
)
"""An untrained model learns to draw brightly in seconds, where the demo's takes minutes to draw better shapes."""


@pytest.fixture
def stack() -> Iterator[RunningStack]:
    """The shipped process file with trainers, whose recipes are shorter."""
    with short_folder() as folder:
        build_random_tiny_flux(folder / "models" / f"tiny-flux-{fingerprint()}-seed-0")
        rubric = folder / "brightness.json"
        rubric.write_text(RUBRIC.model_dump_json())
        options = f"--cache {folder / 'models'} --rubric {rubric} {' '.join(OVERRIDES)}"
        file = changed_file(folder, recipes=options)
        with running_stack("--trainers", "--file", str(file), "--setting", "ARR_AUDIT_IMAGES=all") as running:
            yield running


def records(stack: RunningStack, trainer: str, kind: str) -> list[dict[str, Any]]:
    metrics = stack.folder / "trainers" / trainer / "run" / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [record for record in found if record["kind"] == kind]


@pytest.mark.timeout(900)
def test_three_trainers_learn_while_a_replica_and_a_judge_are_killed_and_come_back(stack: RunningStack) -> None:
    stack.until(lambda: all(records(stack, name, "step") for name in TRAINERS), what="first steps", seconds=400)
    for name in KILLED:
        stack.send(name, signal.SIGKILL)
    stack.until(lambda: all(stack.starts(name, ready="answers at") == 2 for name in KILLED), what="returns")
    # Killed while there was something left to do, and back before the end.
    assert any(len(records(stack, name, "step")) < STEPS for name in TRAINERS)
    stack.until(lambda: all("ended with code 0" in stack.said(name) for name in TRAINERS), what="ends", seconds=400)

    evaluations = [records(stack, name, "evaluation")[-1]["overall"] for name in TRAINERS]
    assert all(evaluation["win_rate"] > 0.5 for evaluation in evaluations)
    num_pairs = sum(evaluation["wins"] + evaluation["ties"] + evaluation["losses"] for evaluation in evaluations)
    wins = sum(evaluation["wins"] + evaluation["ties"] / 2 for evaluation in evaluations)
    assert wilson_interval(wins / num_pairs, num_pairs)[0] > 0.5
    check_that_nothing_is_invented(stack)


def check_that_nothing_is_invented(stack: RunningStack) -> None:
    """Every group of every step is accounted for, and equal questions have equal answers, whoever was asked when."""
    for name in TRAINERS:
        steps = records(stack, name, "step")
        assert [step["step"] for step in steps] == list(range(STEPS))
        for step in steps:
            verdicts = step["verdicts"]
            assert verdicts["scored"] + verdicts["tied"] + verdicts["failed"] == verdicts["num_groups"] == 16
    with RewardClient(stack.url) as client:
        audited = list(client.judgements())
        assert {judgement.run for judgement in audited} >= {"run"}
        assert all(judgement.answers or judgement.error for judgement in audited)
        judged = [judgement for judgement in audited if judgement.error is None]
        for judgement in Random(0).sample(judged, NUM_REPLAYED):
            assert is_what_the_judge_says(client, judgement)


def is_what_the_judge_says(client: RewardClient, judgement: Judgement) -> bool:
    """Whether the judge says the same when it is asked again, past every cache."""
    detail = client.judgement(judgement.id)
    pictures = [base64.b64decode(detail.images[name]) for name in ("first", "second")]
    group = CandidateGroup(detail.prompt, pictures)
    return compare(detail, client.reward([group], rubric=RUBRIC, cache=CachePolicy.OFF)).identical
