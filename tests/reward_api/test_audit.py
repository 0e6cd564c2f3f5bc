"""The audit log over a real database and a real folder, without a service around it."""

import asyncio
import io
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.judging.answers import LabelAnswer
from services.judging.images import JudgeImage, read_png
from services.judging.questions import (
    FIRST_SECOND,
    SECOND_FIRST,
    Asked,
    Cost,
    ImageAnswer,
    ImageQuestion,
    JudgeFailure,
    PairAnswer,
    PairQuestion,
)
from services.judging.verdicts import join_answers
from services.reward_api.audit import AuditLog, JudgementContext
from services.reward_api.kept_images import SAMPLE_ONE_IN, is_sampled
from services.reward_api.settings import AuditImages
from services.storage.blobs import BlobStore, image_blob, rubric_blob
from services.storage.database import Database
from services.storage.judgements import JudgementRepository
from services.storage.write_behind import WriteBehindLimits
from shared_schemas.judgements import Judgement
from shared_schemas.problems import FailureType
from shared_schemas.reward import JudgeIdentity, Run
from shared_schemas.rubrics import Criterion, Mode, RubricContent, RubricIdentity, Task

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUICK = WriteBehindLimits(max_delay=timedelta())

RUBRIC = RubricContent(task=Task.T2I, criteria=(Criterion(id="colour", theme="Colour"),))
PUBLISHED = RubricIdentity(name="shapes", version=1, digest=RUBRIC.digest)
INLINE = RubricIdentity(name=None, version=None, digest=RUBRIC.digest)

CONTEXT = JudgementContext(
    tenant="local",
    run=Run(id="flux-42", step=17, rank=3),
    request_id="r-1",
    group="p0",
    rubric=PUBLISHED,
    judge=JudgeIdentity(model="pixel-judge", fingerprint=f"sha256:{'0' * 64}"),
)


def image(shade: int) -> JudgeImage:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, shade // 256, 0)).save(buffer, format="PNG")
    return read_png(buffer.getvalue())


BLACK, GREY, WHITE = image(0), image(128), image(255)


def asked(question: str, log_odds: float) -> Asked:
    answer = LabelAnswer(
        log_p_first=-1.0, log_p_second=-1.0 - log_odds, label_mass=0.9, prompt_tokens=700, completion_tokens=1
    )
    return Asked(key=f"sha256:{'1' * 64}", question=question, answer=answer, cached=False, seconds=0.01)


def pair(first: JudgeImage = BLACK, second: JudgeImage = WHITE, **changes: Any) -> PairQuestion:
    question = PairQuestion(prompt="a red circle", first=first, second=second, source=None, rubric=RUBRIC)
    return replace(question, **changes)


FORWARD, BACKWARD = asked(FIRST_SECOND, 2.0), asked(SECOND_FIRST, -1.0)
VERDICT = PairAnswer(
    verdict=join_answers(FORWARD.answer, BACKWARD.answer), asked=(FORWARD, BACKWARD), cost=Cost(judge_calls=2)
)


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "arr.db"


@pytest.fixture
async def judgements(database_file: Path) -> AsyncIterator[JudgementRepository]:
    database = await Database.open(f"sqlite+aiosqlite:///{database_file}")
    yield JudgementRepository(database)
    await database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "blobs"))


@pytest.fixture
def audit_log(judgements: JudgementRepository, blobs: BlobStore) -> Callable[..., AuditLog]:
    """An audit log on the test's database and folder that writes at once."""

    def make(images: AuditImages = AuditImages.NONE, **options: Any) -> AuditLog:
        return AuditLog(judgements, blobs, images=images, **({"limits": QUICK} | options))

    return make


async def rows(judgements: JudgementRepository) -> list[Judgement]:
    """All of them, oldest first."""
    page = await judgements.page(tenant=None, limit=20_000)
    return list(reversed(page.items))


async def test_a_pair_is_one_row_with_both_orders(judgements, audit_log) -> None:
    log = audit_log(now=lambda: NOON)
    async with log.open():
        log.record(pair(), VERDICT, CONTEXT)
    [row] = await rows(judgements)
    assert (row.created, row.mode, row.run, row.step, row.rank) == (NOON, Mode.PAIRWISE, "flux-42", 17, 3)
    assert (row.first, row.second, row.source) == (BLACK.digest, WHITE.digest, None)
    assert [answer.question for answer in row.answers] == [FIRST_SECOND, SECOND_FIRST]
    assert (row.error, row.images_kept) == (None, False)


async def test_an_image_is_one_row_with_all_its_criteria(judgements, audit_log) -> None:
    question = ImageQuestion(prompt="make it grey", image=GREY, source=WHITE, rubric=RUBRIC)
    answer = ImageAnswer(scores={"colour": 0.88}, label_mass=0.9, asked=(asked("colour", 2.0),), cost=Cost())
    log = audit_log()
    async with log.open():
        log.record(question, answer, CONTEXT)
    [row] = await rows(judgements)
    assert (row.mode, row.first, row.second, row.source) == (Mode.POINTWISE, GREY.digest, None, WHITE.digest)
    assert [answer.question for answer in row.answers] == ["colour"]


async def test_a_failure_is_a_row_too(judgements, audit_log) -> None:
    log = audit_log()
    async with log.open():
        log.record(pair(), JudgeFailure(type=FailureType.JUDGE_TIMEOUT, detail="late", asked=(FORWARD,)), CONTEXT)
    [row] = await rows(judgements)
    assert row.error is FailureType.JUDGE_TIMEOUT
    assert [answer.question for answer in row.answers] == [FIRST_SECOND]


async def test_ten_thousand_judgements_are_taken_while_the_database_is_locked(
    judgements, audit_log, database_file
) -> None:
    log = audit_log()
    other = sqlite3.connect(database_file, isolation_level=None)
    async with log.open():
        other.execute("BEGIN IMMEDIATE")
        for _ in range(10_000):
            log.record(pair(), VERDICT, CONTEXT)
            await asyncio.sleep(0)  # as between requests: the writer gets its turn and has to wait for its lock
        assert (log.num_pending, log.num_written, log.num_dropped) == (10_000, 0, 0)
        other.execute("ROLLBACK")
    other.close()
    assert (log.num_pending, log.num_written, log.num_dropped) == (0, 10_000, 0)
    assert len(await rows(judgements)) == 10_000


async def test_a_database_that_refuses_is_a_problem_until_it_takes_the_rows(
    judgements, audit_log, database_file, eventually
) -> None:
    log = audit_log()
    other = sqlite3.connect(database_file, isolation_level=None)
    other.execute("ALTER TABLE judgements RENAME TO elsewhere")
    async with log.open():
        log.record(pair(), VERDICT, CONTEXT)
        await eventually(lambda: log.problem is not None)
        assert log.problem == "judgements cannot be written (OperationalError)"
        assert (log.num_pending, log.num_dropped) == (1, 0)
        other.execute("ALTER TABLE elsewhere RENAME TO judgements")
        await eventually(lambda: log.num_written == 1)
        assert log.problem is None
    other.close()
    assert len(await rows(judgements)) == 1


async def test_a_row_that_no_database_takes_costs_no_other_row(judgements, audit_log) -> None:
    log = audit_log()
    async with log.open():
        log.record(pair(), VERDICT, CONTEXT)
        unstorable = Run.model_construct(id="flux-42", step=2**63)  # which no request gets through
        log.record(pair(), VERDICT, replace(CONTEXT, run=unstorable))
        log.record(pair(), VERDICT, CONTEXT)
    assert (log.num_written, log.num_dropped) == (2, 1)
    assert len(await rows(judgements)) == 2


async def test_the_end_does_not_wait_for_ever_and_counts_what_is_lost(audit_log, database_file) -> None:
    log = audit_log(limits=replace(QUICK, flush_within=timedelta(milliseconds=50)))
    other = sqlite3.connect(database_file, isolation_level=None)
    other.execute("DROP TABLE judgements")
    async with log.open():
        log.record(pair(), VERDICT, CONTEXT)
    other.close()
    assert (log.num_written, log.num_dropped, log.num_pending) == (0, 1, 0)


async def test_images_and_inline_rubrics_are_kept_where_all_are(judgements, audit_log, blobs) -> None:
    log = audit_log(AuditImages.ALL)
    async with log.open():
        log.record(pair(BLACK, WHITE, source=GREY), VERDICT, replace(CONTEXT, rubric=INLINE))
        log.record(pair(BLACK, WHITE), VERDICT, replace(CONTEXT, rubric=PUBLISHED))  # of the same content
    assert [row.images_kept for row in await rows(judgements)] == [True, True]
    for kept in (BLACK, WHITE, GREY):
        assert await blobs.get(image_blob(kept.digest)) == kept.png
    rubric = await blobs.get(rubric_blob(RUBRIC.digest))
    assert RubricContent.model_validate_json(rubric) == RUBRIC


async def test_a_published_rubric_is_not_kept_twice(audit_log, blobs) -> None:
    log = audit_log(AuditImages.ALL)
    async with log.open():
        log.record(pair(), VERDICT, CONTEXT)
    assert await blobs.get(image_blob(BLACK.digest)) == BLACK.png
    assert await blobs.get(rubric_blob(RUBRIC.digest)) is None


async def test_the_sample_is_one_in_a_hundred_and_the_same_in_either_order(judgements, audit_log) -> None:
    images = [image(shade) for shade in range(60)]
    questions = [pair(first, second) for first in images for second in images if first is not second]
    sampled = {(question.first.digest, question.second.digest) for question in questions if is_sampled(question)}
    assert sampled
    assert {(second, first) for first, second in sampled} == sampled
    # 1,770 unordered pairs: a binomial with a mean of 17.7 and a standard deviation of 4.2.
    assert 1770 / SAMPLE_ONE_IN - 17 < len(sampled) / 2 < 1770 / SAMPLE_ONE_IN + 17
    log = audit_log(AuditImages.SAMPLE)
    async with log.open():
        for question in questions:
            log.record(question, VERDICT, CONTEXT)
    assert {(row.first, row.second) for row in await rows(judgements) if row.images_kept} == sampled


async def test_images_beyond_what_may_wait_are_left_out_and_the_row_is_kept(judgements, audit_log) -> None:
    log = audit_log(AuditImages.ALL, max_pending_image_bytes=len(BLACK.png) + len(WHITE.png))
    async with log.open():
        log.record(pair(BLACK, WHITE), VERDICT, CONTEXT)
        log.record(pair(WHITE, BLACK), VERDICT, CONTEXT)  # the same two are held once
        log.record(pair(BLACK, GREY), VERDICT, CONTEXT)
    assert [row.images_kept for row in await rows(judgements)] == [True, True, False]
    assert log.num_without_images == 1


async def test_written_images_make_room_for_the_next_ones(judgements, audit_log, eventually) -> None:
    log = audit_log(AuditImages.ALL, max_pending_image_bytes=len(GREY.png) + len(WHITE.png))
    async with log.open():
        log.record(pair(GREY, WHITE), VERDICT, CONTEXT)
        await eventually(lambda: log.num_written == 1)
        log.record(pair(BLACK, BLACK), VERDICT, CONTEXT)
    assert [row.images_kept for row in await rows(judgements)] == [True, True]


async def test_a_blob_store_that_fails_costs_the_images_and_not_the_row(
    judgements, audit_log, tmp_path, eventually
) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    log = audit_log(AuditImages.ALL)
    async with log.open():
        log.record(pair(), VERDICT, CONTEXT)
        await eventually(lambda: log.num_written == 1)
        assert log.problem is not None
        assert log.problem.startswith("images cannot be kept")
        (tmp_path / "blobs").unlink()
        log.record(pair(), VERDICT, CONTEXT)
        await eventually(lambda: log.num_written == 2)
        assert log.problem is None
    assert [row.images_kept for row in await rows(judgements)] == [False, True]
    assert log.num_without_images == 1


async def test_what_is_too_old_goes_with_the_images_that_nothing_else_keeps(judgements, audit_log, blobs) -> None:
    days = iter(range(100))
    writing = audit_log(AuditImages.ALL, now=lambda: NOON + timedelta(days=next(days)))
    async with writing.open():
        writing.record(pair(BLACK, GREY), VERDICT, replace(CONTEXT, rubric=INLINE))
        writing.record(pair(GREY, WHITE), VERDICT, CONTEXT)
    reading = audit_log(keep_for=timedelta(days=30), now=lambda: NOON + timedelta(days=30, hours=1))
    assert await reading.retire() == 1
    assert [row.first for row in await rows(judgements)] == [GREY.digest]
    kept = [await blobs.get(image_blob(digest)) for digest in (BLACK.digest, GREY.digest, WHITE.digest)]
    assert kept == [None, GREY.png, WHITE.png]
    assert await blobs.get(rubric_blob(RUBRIC.digest)) is None


async def test_more_than_one_batch_of_old_rows_goes_and_without_an_age_nothing_does(judgements, audit_log) -> None:
    log = audit_log(now=lambda: NOON)
    async with log.open():
        for _ in range(1_200):
            log.record(pair(), VERDICT, CONTEXT)
    later = {"now": lambda: NOON + timedelta(days=400)}
    assert await audit_log(keep_for=None, **later).retire() == 0
    assert await audit_log(keep_for=timedelta(days=30), **later).retire() == 1_200
    assert await rows(judgements) == []


async def test_old_rows_go_by_themselves_while_the_log_is_open(judgements, audit_log, eventually) -> None:
    log = audit_log(now=lambda: NOON)
    async with log.open():
        log.record(pair(), VERDICT, CONTEXT)
    assert len(await rows(judgements)) == 1
    async with audit_log(keep_for=timedelta(days=1), now=lambda: NOON + timedelta(days=2)).open():
        async with asyncio.timeout(10):
            while await rows(judgements):  # noqa: ASYNC110 - nothing says when
                await asyncio.sleep(0.01)
