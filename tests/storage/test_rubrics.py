import asyncio

import pytest

from services.storage.database import Database
from services.storage.errors import AliasChangedError, ArchivedAliasError, UnknownRubricError
from services.storage.rubrics import RubricRepository, point_alias, publish_version
from shared_schemas.rubrics import Criterion, RubricContent, RubricReference, Task


@pytest.fixture
def rubrics(database: Database) -> RubricRepository:
    return RubricRepository(database)


def content(theme: str = "sharp") -> RubricContent:
    return RubricContent(task=Task.T2I, criteria=(Criterion(id="c", theme=theme),))


async def test_versions_count_up_from_one(rubrics: RubricRepository) -> None:
    first, first_is_new = await rubrics.publish("set", content("one"), provenance={"author": "a"})
    second, second_is_new = await rubrics.publish("set", content("two"), provenance={})
    assert (first.version, first_is_new, second.version, second_is_new) == (1, True, 2, True)
    assert await rubrics.get("set", 1) == first
    assert (await rubrics.get("set")) == second


async def test_publishing_the_same_content_gives_the_existing_version(rubrics: RubricRepository) -> None:
    first, _ = await rubrics.publish("set", content("one"), provenance={"author": "first"})
    await rubrics.publish("set", content("two"), provenance={})
    again, is_new = await rubrics.publish("set", content("one"), provenance={"author": "second"})
    assert again == first
    assert not is_new


async def test_twenty_concurrent_publishers_get_dense_versions(database_url: str) -> None:
    databases = [await Database.open(database_url) for _ in range(4)]
    repositories = [RubricRepository(database) for database in databases]
    published = await asyncio.gather(
        *(repositories[i % 4].publish("set", content(f"theme {i}"), provenance={}) for i in range(20))
    )
    assert sorted(version.version for version, _ in published) == list(range(1, 21))
    for database in databases:
        await database.close()


async def test_concurrent_publishers_of_one_content_share_one_version(rubrics: RubricRepository) -> None:
    published = await asyncio.gather(*(rubrics.publish("set", content(), provenance={}) for _ in range(10)))
    assert [version.version for version, _ in published] == [1] * 10
    assert sum(is_new for _, is_new in published) == 1


async def test_references_resolve_to_what_they_name(rubrics: RubricRepository) -> None:
    for theme in ("one", "two", "three"):
        await rubrics.publish("set", content(theme), provenance={})
    await rubrics.set_alias("set", "production", 2)
    resolved = {
        text: (await rubrics.resolve(RubricReference.parse(text))).version
        for text in ("set", "set@latest", "set@1", "set@v1", "set@production")
    }
    assert resolved == {"set": 3, "set@latest": 3, "set@1": 1, "set@v1": 1, "set@production": 2}


@pytest.mark.parametrize("text", ["other", "set@2", "set@missing", "set@none"])
async def test_references_to_nothing_are_refused(rubrics: RubricRepository, text: str) -> None:
    await rubrics.publish("set", content(), provenance={})
    with pytest.raises(UnknownRubricError):
        await rubrics.resolve(RubricReference.parse(text))


async def test_an_alias_cannot_point_at_a_version_that_does_not_exist(rubrics: RubricRepository) -> None:
    await rubrics.publish("set", content(), provenance={})
    with pytest.raises(UnknownRubricError, match="set@2"):
        await rubrics.set_alias("set", "production", 2)


async def test_an_alias_moves_only_from_where_it_was_expected(rubrics: RubricRepository) -> None:
    for theme in ("one", "two", "three"):
        await rubrics.publish("set", content(theme), provenance={})
    await rubrics.set_alias("set", "production", 1)
    await rubrics.set_alias("set", "production", 2, allowed=lambda current: current == 1)
    with pytest.raises(AliasChangedError, match="points at version 2"):
        await rubrics.set_alias("set", "production", 3, allowed=lambda current: current == 1)
    assert (await rubrics.alias("set", "production")).version == 2


async def test_of_many_who_expect_the_same_alias_one_wins(rubrics: RubricRepository) -> None:
    for i in range(1, 7):
        await rubrics.publish("set", content(str(i)), provenance={})
    await rubrics.set_alias("set", "production", 1)
    attempts = await asyncio.gather(
        *(rubrics.set_alias("set", "production", n, allowed=lambda current: current == 1) for n in range(2, 7)),
        return_exceptions=True,
    )
    losers = [attempt for attempt in attempts if isinstance(attempt, AliasChangedError)]
    assert len(losers) == 4


async def test_a_deleted_alias_is_gone(rubrics: RubricRepository) -> None:
    await rubrics.publish("set", content(), provenance={})
    await rubrics.set_alias("set", "production", 1)
    await rubrics.delete_alias("set", "production")
    with pytest.raises(UnknownRubricError):
        await rubrics.alias("set", "production")
    with pytest.raises(UnknownRubricError):
        await rubrics.delete_alias("set", "production")


async def test_sets_are_listed_by_name_in_pages(rubrics: RubricRepository) -> None:
    for name in ("beta", "alpha", "gamma"):
        await rubrics.publish(name, content("old"), provenance={})
    newest, _ = await rubrics.publish("alpha", content("new"), provenance={})
    await rubrics.set_alias("alpha", "production", 1)
    first = await rubrics.summaries(limit=2)
    assert [item.name for item in first.items] == ["alpha", "beta"]
    assert first.next == "beta"
    assert (first.items[0].latest, first.items[0].digest) == (2, newest.digest)
    assert first.items[0].aliases == {"production": 1}
    last = await rubrics.summaries(after=first.next, limit=2)
    assert [item.name for item in last.items] == ["gamma"]
    assert last.next is None


async def test_versions_are_listed_newest_first_in_pages(rubrics: RubricRepository) -> None:
    for theme in ("one", "two", "three"):
        await rubrics.publish("set", content(theme), provenance={})
    first = await rubrics.versions("set", limit=2)
    assert ([item.version for item in first.items], first.next) == ([3, 2], 2)
    last = await rubrics.versions("set", before=first.next, limit=2)
    assert ([item.version for item in last.items], last.next) == ([1], None)


async def three_versions_of(rubrics: RubricRepository, name: str = "set") -> None:
    for theme in ("one", "two", "three"):
        await rubrics.publish(name, content(theme), provenance={})


async def test_an_archived_version_is_hidden_and_found_by_its_number(rubrics: RubricRepository) -> None:
    await three_versions_of(rubrics)
    archived = await rubrics.set_archived("set", 2, archived=True)
    assert archived.archived
    assert archived == await rubrics.get("set", 2)
    assert [version.version for version in (await rubrics.versions("set", limit=10)).items] == [3, 1]
    with_archived = (await rubrics.versions("set", archived=True, limit=10)).items
    assert [(version.version, version.archived) for version in with_archived] == [(3, False), (2, True), (1, False)]


async def test_the_newest_version_is_the_newest_that_is_not_archived(rubrics: RubricRepository) -> None:
    await three_versions_of(rubrics)
    await rubrics.set_archived("set", 3, archived=True)
    for reference in ("set", "set@latest"):
        assert (await rubrics.resolve(RubricReference.parse(reference))).version == 2
    assert (await rubrics.summary("set")).latest == 2
    assert (await rubrics.summaries(limit=10)).items[0].latest == 2
    assert (await rubrics.summaries(archived=True, limit=10)).items[0].latest == 2
    assert (await rubrics.publish("set", content("four"), provenance={}))[0].version == 4


async def test_a_set_of_archived_versions_is_listed_on_request_only(rubrics: RubricRepository) -> None:
    await three_versions_of(rubrics, "hidden")
    await three_versions_of(rubrics, "shown")
    for version in (1, 2, 3):
        await rubrics.set_archived("hidden", version, archived=True)
    assert [item.name for item in (await rubrics.summaries(limit=10)).items] == ["shown"]
    items = (await rubrics.summaries(archived=True, limit=10)).items
    assert [(item.name, item.latest, item.archived) for item in items] == [("hidden", 3, True), ("shown", 3, False)]
    assert (await rubrics.versions("hidden", limit=10)).items == ()
    with pytest.raises(UnknownRubricError, match="every version of the rubric set 'hidden' is archived"):
        await rubrics.resolve(RubricReference.parse("hidden"))
    with pytest.raises(UnknownRubricError, match=r"there is no rubric nowhere$"):
        await rubrics.resolve(RubricReference.parse("nowhere"))


async def test_pages_of_a_set_with_archived_versions_are_full(rubrics: RubricRepository) -> None:
    await three_versions_of(rubrics)
    await rubrics.set_archived("set", 2, archived=True)
    first = await rubrics.versions("set", limit=1)
    assert ([version.version for version in first.items], first.next) == ([3], 3)
    last = await rubrics.versions("set", before=first.next, limit=1)
    assert ([version.version for version in last.items], last.next) == ([1], None)


async def test_archiving_twice_and_taking_out_twice_changes_nothing(rubrics: RubricRepository) -> None:
    await three_versions_of(rubrics)
    before = await rubrics.get("set", 2)
    assert await rubrics.set_archived("set", 2, archived=False) == before
    once = await rubrics.set_archived("set", 2, archived=True)
    assert await rubrics.set_archived("set", 2, archived=True) == once
    assert await rubrics.set_archived("set", 2, archived=False) == before


async def test_no_alias_points_at_an_archived_version(rubrics: RubricRepository) -> None:
    await three_versions_of(rubrics)
    for alias in ("production", "canary"):
        await rubrics.set_alias("set", alias, 2)
    with pytest.raises(ArchivedAliasError, match=r"move or remove set@canary, set@production before"):
        await rubrics.set_archived("set", 2, archived=True)
    await rubrics.set_archived("set", 1, archived=True)
    with pytest.raises(ArchivedAliasError, match="set@1 is archived"):
        await rubrics.set_alias("set", "production", 1)
    assert (await rubrics.alias("set", "production")).version == 2


async def test_of_an_alias_and_an_archiving_at_the_same_time_one_is_refused(database_url: str) -> None:
    databases = [await Database.open(database_url) for _ in range(2)]
    aliasing, archiving = (RubricRepository(database) for database in databases)
    for number in range(5):
        await aliasing.publish(f"set-{number}", content(), provenance={})
        done = await asyncio.gather(
            aliasing.set_alias(f"set-{number}", "production", 1),
            archiving.set_archived(f"set-{number}", 1, archived=True),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, ArchivedAliasError) for outcome in done) == 1, done
    for database in databases:
        await database.close()


async def test_archived_content_that_is_published_again_is_out_of_the_archive(rubrics: RubricRepository) -> None:
    await three_versions_of(rubrics)
    await rubrics.set_archived("set", 3, archived=True)
    again, is_new = await rubrics.publish("set", content("three"), provenance={"by": "somebody else"})
    assert (again.version, again.archived, again.provenance, is_new) == (3, False, {}, False)
    assert (await rubrics.get("set")).version == 3


@pytest.mark.parametrize("archived", [True, False])
async def test_what_does_not_exist_cannot_be_archived(rubrics: RubricRepository, archived: bool) -> None:
    with pytest.raises(UnknownRubricError, match="set@1"):
        await rubrics.set_archived("set", 1, archived=archived)


async def test_publishing_and_aliasing_in_one_transaction_happen_together_or_not_at_all(
    database: Database, rubrics: RubricRepository
) -> None:
    async def publish_and_point(*, fail: bool) -> None:
        async with database.writing() as session:
            version, _ = await publish_version(session, "set", content(), provenance={})
            assert (await point_alias(session, "set", "production", version.version)).version == version.version
            if fail:
                raise LookupError

    with pytest.raises(LookupError):
        await publish_and_point(fail=True)
    with pytest.raises(UnknownRubricError):
        await rubrics.get("set")
    await publish_and_point(fail=False)
    assert (await rubrics.resolve(RubricReference.parse("set@production"))).version == 1
