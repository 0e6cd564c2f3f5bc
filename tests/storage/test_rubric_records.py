import asyncio

import pytest
from sqlalchemy import func, select

from services.storage.database import Database
from services.storage.errors import UnknownRubricError
from services.storage.rubric_records import attach_calibration, attach_metrics
from services.storage.rubrics import RubricRepository
from services.storage.tables import RubricCalibrationRow
from shared_schemas.rubrics import Calibration, Criterion, RubricContent, RubricReference, Task, VersionMetrics

JUDGE, OTHER_JUDGE, DATASET = ("sha256:" + digit * 64 for digit in "abc")


@pytest.fixture
def rubrics(database: Database) -> RubricRepository:
    return RubricRepository(database)


def content(theme: str = "sharp") -> RubricContent:
    return RubricContent(task=Task.T2I, criteria=(Criterion(id="c", theme=theme),))


def metrics(accuracy: float = 0.8) -> VersionMetrics:
    return VersionMetrics(
        accuracy=accuracy,
        accuracy_low=accuracy - 0.1,
        accuracy_high=accuracy + 0.1,
        forward=0.9,
        reverse=0.7,
        none_accuracy=None,
        num_pairs=40,
        judge=JUDGE,
        dataset=DATASET,
        job=3,
    )


def calibration(temperature: float = 1.5) -> Calibration:
    return Calibration(temperature=temperature, tie_margin=0.2, ece=0.03, num_pairs=40, dataset=DATASET, job=3)


async def attach(database: Database, name: str, version: int, record: VersionMetrics) -> None:
    async with database.writing() as session:
        await attach_metrics(session, name, version, record)


async def calibrate(database: Database, digest: str, judge: str, record: Calibration) -> None:
    async with database.writing() as session:
        await attach_calibration(session, digest, judge, record)


async def test_a_version_comes_with_the_last_metrics_that_were_attached_to_it(
    database: Database, rubrics: RubricRepository
) -> None:
    await rubrics.publish("set", content("one"), provenance={})
    await rubrics.publish("set", content("two"), provenance={})
    await attach(database, "set", 1, metrics(0.6))
    await attach(database, "set", 1, metrics(0.8))
    assert (await rubrics.get("set", 1)).metrics == metrics(0.8)
    assert (await rubrics.get("set", 2)).metrics is None
    assert [version.metrics for version in (await rubrics.versions("set", limit=10)).items] == [None, metrics(0.8)]


async def test_a_set_is_listed_with_the_metrics_of_its_newest_version(
    database: Database, rubrics: RubricRepository
) -> None:
    await rubrics.publish("set", content("one"), provenance={})
    await attach(database, "set", 1, metrics())
    assert (await rubrics.summary("set")).metrics == metrics()
    assert (await rubrics.summaries(limit=10)).items[0].metrics == metrics()
    await rubrics.publish("set", content("two"), provenance={})
    assert (await rubrics.summary("set")).metrics is None


async def test_metrics_need_a_version(database: Database) -> None:
    with pytest.raises(UnknownRubricError, match="set@1"):
        await attach(database, "set", 1, metrics())


async def test_each_judge_has_a_calibration_of_its_own_and_the_last_one_counts(
    database: Database, rubrics: RubricRepository
) -> None:
    published, _ = await rubrics.publish("set", content(), provenance={})
    await calibrate(database, published.digest, JUDGE, calibration(2.0))
    await calibrate(database, published.digest, JUDGE, calibration(1.5))
    await calibrate(database, published.digest, OTHER_JUDGE, calibration(0.5))
    expected = {JUDGE: calibration(1.5), OTHER_JUDGE: calibration(0.5)}
    assert (await rubrics.get("set", 1)).calibration == expected
    assert await rubrics.calibrations(published.digest) == expected


async def test_equal_content_is_calibrated_under_every_name_and_before_it_is_published(
    database: Database, rubrics: RubricRepository
) -> None:
    await calibrate(database, content().digest, JUDGE, calibration())
    one, _ = await rubrics.publish("one", content(), provenance={})
    other, _ = await rubrics.publish("other", content(), provenance={})
    third, _ = await rubrics.publish("other", content("else"), provenance={})
    assert one.calibration == other.calibration == {JUDGE: calibration()}
    assert third.calibration == {}


async def test_versions_with_many_calibrations_are_listed_once_and_pages_stay_whole(
    database: Database, rubrics: RubricRepository
) -> None:
    for theme in ("one", "two", "three"):
        await rubrics.publish("set", content(theme), provenance={})
        for judge in (JUDGE, OTHER_JUDGE):
            await calibrate(database, content(theme).digest, judge, calibration())
    page = await rubrics.versions("set", limit=2)
    assert ([version.version for version in page.items], page.next) == ([3, 2], 2)
    assert [set(version.calibration) for version in page.items] == [{JUDGE, OTHER_JUDGE}] * 2
    await rubrics.publish("tail", content("one"), provenance={})
    sets = await rubrics.summaries(limit=1)
    assert ([item.name for item in sets.items], sets.next) == (["set"], "set")


async def test_jobs_that_attach_at_the_same_time_leave_one_record(
    database: Database, rubrics: RubricRepository
) -> None:
    temperatures = [0.5 + number / 10 for number in range(10)]
    digest = content().digest
    await asyncio.gather(*(calibrate(database, digest, JUDGE, calibration(value)) for value in temperatures))
    async with database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(RubricCalibrationRow)) == 1
    assert (await rubrics.calibrations(digest))[JUDGE].temperature in temperatures


async def test_what_is_attached_in_a_transaction_that_fails_is_not_there(
    database: Database, rubrics: RubricRepository
) -> None:
    async def attach_and_fail() -> None:
        async with database.writing() as session:
            await attach_metrics(session, "set", 1, metrics())
            await attach_calibration(session, content().digest, JUDGE, calibration())
            raise LookupError

    await rubrics.publish("set", content(), provenance={})
    with pytest.raises(LookupError):
        await attach_and_fail()
    found = await rubrics.resolve(RubricReference(name="set"))
    assert (found.metrics, found.calibration) == (None, {})
