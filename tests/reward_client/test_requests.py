"""What goes over the wire for a call."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from reward_client import AsyncRewardClient, CandidateGroup, RetryPolicy, RewardClient, ServiceUnavailable
from reward_client.requests import RewardOptions, prepare_reward
from shared_schemas.judgements import Judgement, JudgementDetail, JudgementPage
from shared_schemas.reward import CachePolicy, JudgeIdentity, Orders, RewardScheme, Run, Scheme
from shared_schemas.rubrics import Criterion, Mode, RubricContent, RubricIdentity, Task

PNG = b"\x89PNG\r\n\x1a\n"
PAIR = CandidateGroup("a lamp", [PNG, PNG + b"2"])
DIGEST = f"sha256:{'0' * 64}"
CONTENT = RubricContent(task=Task.T2I, criteria=(Criterion(id="light", theme="Light"),))


def meta_of(options: RewardOptions, *groups: CandidateGroup) -> dict[str, Any]:
    _, (_, meta, media_type) = prepare_reward(groups or [PAIR], options).call.files[0]
    assert media_type == "application/json"
    assert isinstance(meta, bytes)
    fields: dict[str, Any] = json.loads(meta)
    return fields


def test_the_smallest_request_leaves_every_choice_to_the_service() -> None:
    assert meta_of(RewardOptions(rubric="lamps")) == {
        "rubric": "lamps",
        "groups": [{"id": "g0", "prompt": "a lamp", "candidates": ["i0", "i1"]}],
        "orders": "both",
        "per_criterion": False,
        "cache": "use",
    }


def test_every_option_has_its_field() -> None:
    options = RewardOptions(
        rubric=RubricIdentity(name="lamps", version=3, digest=DIGEST),
        mode=Mode.POINTWISE,
        orders=Orders.ADAPTIVE,
        reward=RewardScheme(scheme=Scheme.SCORE),
        tie_margin=0.5,
        tie_score=0.1,
        per_criterion=True,
        run=Run(id="r", step=1),
        cache=CachePolicy.OFF,
        deadline_seconds=30,
    )
    meta = meta_of(options)
    del meta["groups"]
    assert meta == {
        "rubric": "lamps@3",
        "mode": "pointwise",
        "orders": "adaptive",
        "reward": {"scheme": "score", "preferred": 1.0, "dispreferred": -0.1},
        "tie_margin": 0.5,
        "tie_score": 0.1,
        "per_criterion": True,
        "run": {"id": "r", "step": 1},
        "cache": "off",
        "deadline_seconds": 30.0,
    }


def test_a_rubric_set_itself_travels_with_the_request() -> None:
    sent = meta_of(RewardOptions(rubric=CONTENT))["rubric"]
    assert RubricContent.model_validate(sent) == CONTENT


@pytest.mark.parametrize("num_candidates", [1, 64])
def test_a_group_may_have_from_one_to_64_candidates(num_candidates: int) -> None:
    group = CandidateGroup("a lamp", [PNG + bytes([index]) for index in range(num_candidates)])
    assert len(meta_of(RewardOptions(rubric="lamps"), group)["groups"][0]["candidates"]) == num_candidates


@pytest.mark.parametrize("num_candidates", [0, 65])
def test_no_candidate_and_too_many_are_refused_with_the_name_of_the_group(num_candidates: int) -> None:
    group = CandidateGroup("a lamp", [PNG + bytes([index]) for index in range(num_candidates)], id="mine")
    with pytest.raises(ValueError, match=r"^group mine: candidates: "):
        meta_of(RewardOptions(rubric="lamps"), group)


@pytest.mark.parametrize(("deadline_seconds", "preference"), [(30, "wait=30"), (0.2, "wait=1"), (59.01, "wait=60")])
def test_the_deadline_goes_ahead_of_the_body_in_whole_seconds(deadline_seconds: float, preference: str) -> None:
    call = prepare_reward([PAIR], RewardOptions(rubric="lamps", deadline_seconds=deadline_seconds)).call
    assert call.headers == {"Prefer": preference}


def test_without_a_deadline_nothing_is_preferred() -> None:
    assert prepare_reward([PAIR], RewardOptions(rubric="lamps")).call.headers == {}


def judgement(number: int) -> Judgement:
    return Judgement(
        id=number,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        tenant="local",
        run="r",
        step=None,
        rank=None,
        request_id=None,
        group="g",
        mode=Mode.PAIRWISE,
        rubric=RubricIdentity(name="lamps", version=1, digest=DIGEST),
        judge=JudgeIdentity(model="m", fingerprint=DIGEST),
        prompt="a lamp",
        first=DIGEST,
        second=DIGEST,
        source=None,
        answers=(),
        error=None,
        images_kept=False,
    )


class AuditTrail(httpx.MockTransport):
    """Judgements 5 to 1, two a page; every request is kept."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.requests: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        last = request.url.path.rsplit("/", 1)[-1]
        if last.isdecimal():
            detail = JudgementDetail(**dict(judgement(int(last))), rubric_content=CONTENT)
            return httpx.Response(200, text=detail.model_dump_json())
        before = int(request.url.params.get("before", 6))
        numbers = list(range(before - 1, 0, -1))[:2]
        page = JudgementPage(items=tuple(map(judgement, numbers)), next=numbers[-1] if numbers[-1] > 1 else None)
        return httpx.Response(200, text=page.model_dump_json())


def test_judgements_are_fetched_page_by_page_as_they_are_needed() -> None:
    trail = AuditTrail()
    with RewardClient("http://s", transport=trail) as client:
        found = client.judgements(run="r", rubric="lamps@1")
        assert [next(found).id for _ in range(3)] == [5, 4, 3]
        assert len(trail.requests) == 2
        assert [item.id for item in found] == [2, 1]
    assert [dict(request.url.params) for request in trail.requests] == [
        {"run": "r", "rubric": "lamps@1"},
        {"run": "r", "rubric": "lamps@1", "before": "4"},
        {"run": "r", "rubric": "lamps@1", "before": "2"},
    ]


async def test_the_asyncio_client_reads_the_same_judgements() -> None:
    async with AsyncRewardClient("http://s", transport=AuditTrail()) as client:
        assert [item.id async for item in client.judgements()] == [5, 4, 3, 2, 1]
        detail = await client.judgement(4)
    assert (detail.id, detail.rubric_content) == (4, CONTENT)


def test_the_key_goes_with_every_attempt_of_every_call() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization"))
        return httpx.Response(429)

    impatient = RetryPolicy(attempts=2, wait_initial=timedelta(milliseconds=1))
    transport = httpx.MockTransport(answer)
    with RewardClient("http://s", api_key="arr_1_s3cret", retries=impatient, transport=transport) as client:
        for call in (client.readiness, lambda: client.reward([PAIR], rubric="lamps"), lambda: client.judgement(1)):
            with pytest.raises(ServiceUnavailable):
                call()
    assert seen == ["Bearer arr_1_s3cret"] * 6
