"""Every migration down and up again, on both databases, with what can be kept still there."""

from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from services.storage.database import Database, DatabaseTooNewError, alembic_config
from services.storage.jobs import JobRepository
from services.storage.rubrics import RubricRepository
from services.storage.tables import Table
from shared_schemas.rubrics import Criterion, RubricContent

CONTENT = RubricContent(task="t2i", criteria=(Criterion(id="light", theme="Brightness"),))


def revisions(connection: Connection) -> list[str]:
    """All of them, newest first."""
    script = ScriptDirectory.from_config(alembic_config(connection))
    return [revision.revision for revision in script.walk_revisions()]


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def down_and_up_again(connection: Connection) -> None:
    """One step down and back, then two steps down and back, and so on to the empty database."""
    config = alembic_config(connection)
    before = tables(connection)
    for target in [*revisions(connection)[1:], "base"]:
        command.downgrade(config, target)
        if target == "base":
            assert tables(connection) == set()
        command.upgrade(config, "head")
        assert tables(connection) == before == set(Table.metadata.tables)
        command.check(config)


async def test_every_migration_goes_down_and_up_again(database: Database) -> None:
    async with database.writing() as session:
        await (await session.connection()).run_sync(down_and_up_again)


@pytest.mark.parametrize("target", ["0006", "0005", "0004", "0003", "0002", "0001"])
async def test_rubric_sets_survive_a_downgrade_to_any_release_that_had_them(database: Database, target: str) -> None:
    rubrics = RubricRepository(database)
    published, _ = await rubrics.publish("kept", CONTENT, provenance={"by": "hand"})
    await rubrics.set_alias("kept", "production", 1)
    async with database.writing() as session:
        connection = await session.connection()
        await connection.run_sync(lambda sync: command.downgrade(alembic_config(sync), target))
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))
    assert await rubrics.get("kept", 1) == published
    assert (await rubrics.alias("kept", "production")).version == 1


async def test_jobs_survive_a_downgrade_of_what_came_after_them(database: Database) -> None:
    jobs = JobRepository(database)
    job, _ = await jobs.create("count", tenant="a", parameters={"to": 3})
    async with database.writing() as session:
        connection = await session.connection()
        await connection.run_sync(lambda sync: command.downgrade(alembic_config(sync), "0005"))
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))
    assert await jobs.get(job.id, tenant="a") == job


async def test_a_database_that_is_behind_is_brought_up_to_date(database_url: str) -> None:
    database = await Database.open(database_url)
    async with database.writing() as session:
        connection = await session.connection()
        await connection.run_sync(lambda sync: command.downgrade(alembic_config(sync), "0002"))
        row = {"name": "old", "digest": CONTENT.digest, "content": CONTENT.model_dump_json(), "now": datetime.now(UTC)}
        columns = "name, version, digest, content, provenance, created"
        values = ":name, 1, :digest, :content, '{}', :now"
        await session.execute(text(f"INSERT INTO rubric_versions ({columns}) VALUES ({values})"), row)
    await database.close()
    database = await Database.open(database_url)
    assert (await RubricRepository(database).get("old")).content == CONTENT
    await database.close()


async def test_a_database_of_a_newer_release_is_refused_and_left_as_it_is(database_url: str) -> None:
    database = await Database.open(database_url)
    async with database.writing() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(DatabaseTooNewError, match="newer release"):
        await Database.open(database_url)
    async with database.reading() as session:
        assert await session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    await database.close()
