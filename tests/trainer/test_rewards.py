"""The trainer's connection to the service, where the service misbehaves; training on it is in tests/end_to_end."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


def _source(url: str, **changes: float) -> RewardSource:
    config = RewardConfig(url=url, rubric="t2i@none", allow_pixel_judge=True, deadline_seconds=60, **changes)
    return RewardSource(config, run_id="test", num_threads=2)


def test_a_judge_that_fails_the_probe_pair_is_a_failed_self_check(off_topic_url: str, rollout: Rollout) -> None:
    with _source(off_topic_url) as rewards, pytest.raises(SelfCheckError, match="probe pair: judge-off-topic"):
        check_judge(rewards, rollout)


def test_the_same_failure_in_a_step_stops_the_run(off_topic_url: str) -> None:
    with _source(off_topic_url) as rewards, pytest.raises(RewardsUnavailable, match="1 of 1 groups were not judged"):
        rewards.collect([rewards.post_groups([GROUP], step=0)])


async def _away(send: Send) -> None:
    """A service that will not be back before the client loses its patience."""
    await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"3600")]})
    await send({"type": "http.response.body", "body": b"being moved"})


def _away_at_first(service: ASGIApp, asked: list[str]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/reward":
            asked.append(scope["path"])
            if len(asked) == 1:
                await _away(send)
                return
        await service(scope, receive, send)

    return app


def test_a_step_waits_for_a_service_that_is_away_and_comes_back(
    serve: Callable[[ASGIApp], str], tmp_path: Path, retries: list[RetryDetails]
) -> None:
    asked: list[str] = []
    with _source(serve(_away_at_first(create_app(Settings(data_dir=tmp_path)), asked))) as rewards:
        collected = rewards.collect([rewards.post_groups([GROUP], step=0)])
    assert collected.num_judged == 1
    assert len(asked) == 2
    (retry,) = retries
    assert "503" in str(retry.caused_by)


def test_a_step_waits_for_no_longer_than_it_may(serve: Callable[[ASGIApp], str], tmp_path: Path) -> None:
    asked: list[str] = []
    url = serve(_away_at_first(create_app(Settings(data_dir=tmp_path)), asked))
    with _source(url, max_wait_seconds=0) as rewards, pytest.raises(RewardsUnavailable, match="gave no rewards"):
        rewards.collect([rewards.post_groups([GROUP], step=0)])
    assert len(asked) == 1


@pytest.mark.parametrize(("passes", "num_asked"), [(True, 2), (False, 1)])
def test_a_step_waits_for_a_judge_that_is_away_and_for_none_that_refuses(
    serve: Callable[[ASGIApp], str], tmp_path: Path, passes: bool, num_asked: int
) -> None:
    judging, asked = create_app(Settings(data_dir=tmp_path)), []

    async def judge_fails_once(scope: Scope, receive: Receive, send: Send) -> None:
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        if scope.get("path") != "/reward":
            await judging(scope, receive, send)
            return
        asked.append(scope["path"])
        await judging(scope, receive, send if len(asked) > 1 else keep)
        if len(asked) == 1:
            await _send_json(send, _without_verdict(sent, retryable=passes))

    with _source(serve(judge_fails_once)) as rewards:
        pending = rewards.post_groups([GROUP], step=0)
        if passes:
            assert rewards.collect([pending]).num_judged == 1
        else:
            with pytest.raises(RewardsUnavailable, match="1 of 1 groups were not judged"):
                rewards.collect([pending])
    assert len(asked) == num_asked


def _without_verdict(sent: list[Message], *, retryable: bool) -> bytes:
    """The service's answer, as if the judge had not answered it."""
    answer = json.loads(b"".join(message.get("body", b"") for message in sent))
    error = {"type": "judge-unavailable" if retryable else "judge-refused", "detail": "out", "retryable": retryable}
    answer["results"] = [{"id": "g", "status": "failed", "error": error}]
    return json.dumps(answer).encode()


async def _send_json(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def test_a_judge_that_only_ever_ties_stops_the_run_where_the_recipe_says_so(
    serve: Callable[[ASGIApp], str], tmp_path: Path
) -> None:
    alike = CandidateGroup("a red circle", (BLACK_AND_WHITE[0], BLACK_AND_WHITE[0]), id="alike")
    with _source(serve(create_app(Settings(data_dir=tmp_path))), max_tied_fraction=0.5) as rewards:
        rewards.collect([rewards.post_groups([GROUP, alike], step=0)])
        with pytest.raises(RewardsUnavailable, match="1 of 1 groups are tied"):
            rewards.collect([rewards.post_groups([alike], step=1)])


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


def test_a_rubric_for_another_task_than_the_models_is_refused(serve: Callable[[ASGIApp], str], tmp_path: Path) -> None:
    url = serve(create_app(Settings(data_dir=tmp_path)))
    _published(url, Mode.PAIRWISE).__exit__(None, None, None)
    config = RewardConfig(url=url, rubric="bright", allow_pixel_judge=True)
    with RewardSource(config, run_id="test", num_threads=1, task=Task.T2I) as rewards:
        assert rewards.pinned.rubric.reference == "bright@1"
    with pytest.raises(ConfigError, match="bright@1 is for the task t2i, and the model's is edit"):
        RewardSource(config, run_id="test", num_threads=1, task=Task.EDIT)


@pytest.mark.parametrize("task", list(Task))
def test_the_judge_without_rubrics_is_pinned_for_the_models_task(
    serve: Callable[[ASGIApp], str], tmp_path: Path, task: Task
) -> None:
    config = RewardConfig(url=serve(create_app(Settings(data_dir=tmp_path))), rubric="any@none", allow_pixel_judge=True)
    source = torch.zeros(3, 16, 16) if task is Task.EDIT else None
    group = CandidateGroup("a red circle", tuple(BLACK_AND_WHITE), source=source, id="g")
    with RewardSource(config, run_id="test", num_threads=1, task=task) as rewards:
        assert rewards.collect([rewards.post_groups([group], step=0)]).num_judged == 1
