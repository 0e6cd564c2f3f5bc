"""Calibrations at work: the same verdicts, read otherwise."""

import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.storage.database import Database
from services.storage.rubric_records import attach_calibration
from shared_schemas.reward import RewardResponse, Status
from shared_schemas.rubrics import Calibration, RubricContent, Task

Ask = Callable[..., Any]

PAIR = {"id": "g", "prompt": "a lamp", "candidates": ["a", "b"]}
EMPTY = RubricContent(task=Task.T2I)
"""What the fixture publishes as `t2i`, and what `…@none` means."""


@pytest.fixture
async def database(tmp_path: Path, service: httpx.AsyncClient) -> AsyncIterator[Database]:
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}")
    yield database
    await database.close()


@pytest.fixture
async def judge_fingerprint(service: httpx.AsyncClient) -> str:
    return str((await service.get("/readyz")).json()["judge"]["fingerprint"])


async def calibrate(
    database: Database, judge: str, *, temperature: float, tie_margin: float, content: RubricContent = EMPTY
) -> None:
    record = Calibration(
        temperature=temperature, tie_margin=tie_margin, ece=0.0, num_pairs=40, dataset="sha256:" + "0" * 64
    )
    async with database.writing() as session:
        await attach_calibration(session, content.digest, judge, record)


async def asked(ask: Ask, service: httpx.AsyncClient, images: dict[str, bytes], **meta: Any) -> RewardResponse:
    answer = await ask(service, [PAIR], images, **meta)
    assert answer.status_code == 200, answer.text
    return RewardResponse.model_validate_json(answer.content)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("rubric", ["t2i", "t2i@1", "t2i@production", "anything@none", {"task": "t2i"}])
async def test_probabilities_follow_the_temperature_however_the_set_is_named(
    service, ask, png, database, judge_fingerprint, rubric
) -> None:
    await service.put("/rubrics/t2i/aliases/production", json={"version": 1})
    images = {"a": png(1.0), "b": png(0.0)}
    options: dict[str, Any] = {"rubric": rubric, "reward": {"scheme": "win_rate"}}
    before = await asked(ask, service, images, **options)
    await calibrate(database, judge_fingerprint, temperature=2.0, tie_margin=0.1)
    after = await asked(ask, service, images, **options)
    assert (before.calibrated, after.calibrated) == (False, True)
    (old,), (new,) = before.results[0].pairs, after.results[0].pairs
    assert old.margin == new.margin == pytest.approx(4.0)
    assert (old.p_first, new.p_first) == pytest.approx((sigmoid(4.0), sigmoid(2.0)))
    assert before.results[0].rewards == pytest.approx((sigmoid(4.0), sigmoid(-4.0)))
    assert after.results[0].rewards == pytest.approx((sigmoid(2.0), sigmoid(-2.0)))
    assert after.usage.judge_calls == 0


async def test_ties_follow_the_fitted_margin_unless_the_request_names_one(
    service, ask, png, database, judge_fingerprint
) -> None:
    images = {"a": png(0.6), "b": png(0.5)}  # 102/255 grey levels apart, so 0.4 nats
    await calibrate(database, judge_fingerprint, temperature=1.0, tie_margin=0.5)
    assert (await asked(ask, service, images)).results[0].status is Status.TIED
    assert (await asked(ask, service, images, tie_margin=0.3)).results[0].status is Status.SCORED
    await calibrate(database, judge_fingerprint, temperature=1.0, tie_margin=0.3)
    assert (await asked(ask, service, images)).results[0].status is Status.SCORED
    assert (await asked(ask, service, images, tie_margin=0.5)).results[0].status is Status.TIED


async def test_what_was_fitted_to_another_judge_or_another_set_changes_nothing(
    service, ask, png, database, judge_fingerprint
) -> None:
    images = {"a": png(0.6), "b": png(0.5)}
    before = await asked(ask, service, images)
    await calibrate(database, "sha256:" + "e" * 64, temperature=3.0, tie_margin=2.0)
    other = RubricContent(task=Task.T2I, task_description="posters")
    await calibrate(database, judge_fingerprint, temperature=3.0, tie_margin=2.0, content=other)
    after = await asked(ask, service, images)
    assert not after.calibrated
    assert after.results[0].rewards == before.results[0].rewards
    assert [pair.p_first for pair in after.results[0].pairs] == [pair.p_first for pair in before.results[0].pairs]


async def test_scores_are_calibrated_in_their_own_way(service, ask, png, database, judge_fingerprint) -> None:
    content = {"task": "t2i", "mode": "pointwise", "criteria": [{"id": "bright", "theme": "Bright"}]}
    images = {"a": png(0.8), "b": png(0.2)}  # log-odds 1.2 and −1.2
    difference = sigmoid(1.2) - sigmoid(-1.2)
    scheme = {"scheme": "win_rate"}
    before = await asked(ask, service, images, rubric=content, reward=scheme)
    assert before.results[0].rewards == pytest.approx((sigmoid(difference), sigmoid(-difference)))
    digest_of = RubricContent.model_validate(content)
    await calibrate(database, judge_fingerprint, temperature=0.5, tie_margin=0.6, content=digest_of)
    assert (await asked(ask, service, images, rubric=content, reward=scheme)).results[0].status is Status.TIED
    after = await asked(ask, service, images, rubric=content, reward=scheme, tie_score=0.5)
    assert after.results[0].scores == before.results[0].scores
    assert after.results[0].rewards == pytest.approx((sigmoid(2 * difference), sigmoid(-2 * difference)))


async def test_the_answer_as_tensors_says_it_too(service, ask, png, database, judge_fingerprint) -> None:
    await calibrate(database, judge_fingerprint, temperature=2.0, tie_margin=0.1)
    answer = await ask(service, [PAIR], {"a": png(1.0), "b": png(0.0)}, accept="application/vnd.safetensors")
    assert b'\\"calibrated\\":true' in answer.content
