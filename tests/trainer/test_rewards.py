"""The trainer's connection to the service, where the service misbehaves; training on it is in tests/end_to_end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks
from starlette.types import ASGIApp, Receive, Scope, Send

from reward_client import CandidateGroup, RewardClient
from services.reward_api.api_keys import KeyFile
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from shared_schemas import access
from shared_schemas.reward import Status
from shared_schemas.rubrics import Criterion, Mode, RubricContent, Task
from trainer.config import RewardConfig
from trainer.data import Example
from trainer.errors import ConfigError, RewardsUnavailable, SelfCheckError
from trainer.policies.encoded_examples import TextConditioning
from trainer.rewards import API_KEY, RewardSource
from trainer.rollout import Rollout
from trainer.self_check import check_judge

BLACK_AND_WHITE = torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)])
EXAMPLE = Example("a red circle")
GROUP = CandidateGroup("a red circle", tuple(BLACK_AND_WHITE), id="g")


@pytest.fixture
def rollout() -> Rollout:
    nothing = TextConditioning(prompt_embeds_BLE=torch.zeros(2, 1, 1), pooled_embeds_BC=torch.zeros(2, 1))
    return Rollout(
        group_ids=("g",),
        examples=(EXAMPLE,),
        conditioning=nothing,
        steps=(),
        images_B3HW=BLACK_AND_WHITE,
    )


@pytest.fixture
def retries() -> Iterator[list[RetryDetails]]:
    """Every retry that is scheduled during the test."""
    former = get_on_retry_hooks()
    seen: list[RetryDetails] = []

    def note(details: RetryDetails) -> None:
        seen.append(details)

    set_on_retry_hooks([note])
    yield seen
    set_on_retry_hooks(former)


@pytest.fixture
def off_topic_url(serve: Callable[[ASGIApp], str], tmp_path: Path) -> str:
    """A service that trusts no verdict of its judge."""
    return serve(create_app(Settings(data_dir=tmp_path, min_label_mass=1.0)))


def _source(url: str) -> RewardSource:
    config = RewardConfig(url=url, rubric="t2i@none", allow_pixel_judge=True, deadline_seconds=60)
    return RewardSource(config, run_id="test", num_threads=2)


def test_a_judge_that_fails_the_probe_pair_is_a_failed_self_check(off_topic_url: str, rollout: Rollout) -> None:
    with _source(off_topic_url) as rewards, pytest.raises(SelfCheckError, match="probe pair: judge-off-topic"):
        check_judge(rewards, rollout)


def test_the_same_failure_in_a_step_stops_the_run(off_topic_url: str) -> None:
    with _source(off_topic_url) as rewards, pytest.raises(RewardsUnavailable, match="1 of 1 groups were not judged"):
        rewards.collect([rewards.post_groups([GROUP], step=0)])


def test_a_probe_that_is_judged_is_an_answer(serve: Callable[[ASGIApp], str], tmp_path: Path) -> None:
    with _source(serve(create_app(Settings(data_dir=tmp_path)))) as rewards:
        assert rewards.probe(EXAMPLE, tuple(BLACK_AND_WHITE)).status is not Status.FAILED


def _published(url: str, mode: Mode) -> RewardSource:
    """A source on a set of that mode, under a recipe that leaves mode and scheme open."""
    criterion = Criterion(id="bright", theme="Brightness", tips=("The image is bright.",), weight=2.0)
    with RewardClient(url) as client:
        client.publish_rubric("bright", RubricContent(task=Task.T2I, mode=mode, criteria=(criterion,)))
    config = RewardConfig(url=url, rubric="bright", allow_pixel_judge=True, deadline_seconds=60)
    return RewardSource(config, run_id="test", num_threads=2)


def test_a_pointwise_set_is_paid_by_score_where_the_recipe_says_nothing(
    serve: Callable[[ASGIApp], str], tmp_path: Path
) -> None:
    with _published(serve(create_app(Settings(data_dir=tmp_path))), Mode.POINTWISE) as rewards:
        result = rewards.probe(EXAMPLE, tuple(BLACK_AND_WHITE))
    assert result.scores is not None
    assert result.rewards == result.scores  # weight × p(yes), not ranks
    assert result.scores[1] > 1.9
    assert result.scores[0] < 0.1


def test_a_pairwise_set_is_paid_by_rank_where_the_recipe_says_nothing(
    serve: Callable[[ASGIApp], str], tmp_path: Path
) -> None:
    with _published(serve(create_app(Settings(data_dir=tmp_path))), Mode.PAIRWISE) as rewards:
        assert rewards.probe(EXAMPLE, tuple(BLACK_AND_WHITE)).rewards == (-1.0, 1.0)


def test_a_service_with_keys_wants_the_one_in_the_environment(
    serve: Callable[[ASGIApp], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = KeyFile(tmp_path / "keys.json").add("trainer", tenant="t", scopes=[access.Scope.REWARD])
    url = serve(create_app(Settings(data_dir=tmp_path, api_keys=tmp_path / "keys.json")))
    monkeypatch.delenv(API_KEY, raising=False)
    with pytest.raises(ConfigError, match="401 unauthenticated"):
        RewardSource(RewardConfig(url=url, rubric="shapes", allow_pixel_judge=True), run_id="test", num_threads=1)
    monkeypatch.setenv(API_KEY, token)
    with _source(url) as rewards:
        assert rewards.probe(EXAMPLE, tuple(BLACK_AND_WHITE)).status is not Status.FAILED


def test_leaving_waits_for_no_hanging_service_and_asks_it_no_more(
    serve: Callable[[ASGIApp], str], tmp_path: Path, wait_until: Callable[..., None], retries: list[RetryDetails]
) -> None:
    service = create_app(Settings(data_dir=tmp_path))
    asked, release = threading.Event(), threading.Event()

    async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != "/reward":
            await service(scope, receive, send)
            return
        asked.set()
        await asyncio.to_thread(release.wait)
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    url = serve(hanging)
    try:
        rewards = _source(url)
        pending = rewards.post_groups([GROUP], step=0)
        assert asked.wait(timeout=30)
        leaving = threading.Thread(target=rewards.__exit__, args=(None, None, None), daemon=True)
        leaving.start()
        leaving.join(timeout=20)  # the request itself may take its deadline of 60 s
        assert not leaving.is_alive()
    finally:
        release.set()
    wait_until(pending.done, what="the end of the request")
    assert pending.exception() is not None
    assert retries == []
