import asyncio

import pytest

from services.storage.database import Database
from services.storage.errors import AliasChangedError, UnknownRubricError
from services.storage.rubrics import RubricRepository
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
