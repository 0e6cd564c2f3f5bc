import asyncio

import pytest


def content(theme: str) -> dict[str, object]:
    return {"content": {"task": "t2i", "criteria": [{"id": "c", "theme": theme}]}}


@pytest.fixture
async def three_versions(service):
    for theme in ("one", "two", "three"):
        answer = await service.post("/rubrics/set/versions", json=content(theme) | {"provenance": {"by": theme}})
        assert answer.status_code == 201
    return service


async def test_publishing_answers_with_the_new_version(service) -> None:
    answer = await service.post("/rubrics/set/versions", json=content("sharp") | {"provenance": {"seed": 3}})
    version = answer.json()
    assert answer.status_code == 201
    assert (version["name"], version["version"], version["provenance"]) == ("set", 1, {"seed": 3})
    assert version["content"]["criteria"][0]["theme"] == "sharp"
    assert answer.headers["ETag"] == f'"{version["digest"]}"'
    assert (await service.get(answer.headers["Location"])).json() == version


async def test_publishing_the_same_content_again_answers_200_with_the_old_version(three_versions) -> None:
    answer = await three_versions.post("/rubrics/set/versions", json=content("two") | {"provenance": {"by": "me"}})
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert answer.json()["provenance"] == {"by": "two"}


async def test_twenty_concurrent_publishers_get_dense_versions(service) -> None:
    answers = await asyncio.gather(
        *(service.post("/rubrics/set/versions", json=content(f"theme {n}")) for n in range(20))
    )
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 21))


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('{"content": {"task": "t2i", "typo": 1}}', "body.content.typo"),
        ('{"content": {"task": "t2i"}, "provenance": {"loss": NaN}}', "body.provenance"),
        ('{"content": {"task": "t2i"}, "provenance": {"x": ' + "[" * 300 + "]" * 300 + "}}", "body.provenance"),
        ('{"content": {"task": "t2i"}, "provenance": {"by": "\\ud800"}}', "body.provenance"),
        ('{"content": {"task": "t2i", "task_description": "\\u0000"}}', "body.content.task_description"),
        ("{", "body.1"),
        ("", "body"),
    ],
)
async def test_what_cannot_be_published_is_explained(service, body, where) -> None:
    answer = await service.post("/rubrics/set/versions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert where in [error["where"] for error in answer.json()["errors"]]
    assert (await service.get("/rubrics/set")).status_code == 404


async def test_a_version_is_not_sent_again_to_who_has_it(three_versions) -> None:
    first = await three_versions.get("/rubrics/set/versions/2")
    for tag in (first.headers["ETag"], f'"other", W/{first.headers["ETag"]}'):
        again = await three_versions.get("/rubrics/set/versions/2", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    other = await three_versions.get("/rubrics/set/versions/3", headers={"If-None-Match": first.headers["ETag"]})
    assert other.status_code == 200


async def test_sets_are_listed_in_pages(service) -> None:
    for name in ("b", "a", "c"):
        await service.post(f"/rubrics/{name}/versions", json=content("x"))
    first = (await service.get("/rubrics", params={"limit": 3})).json()
    assert ([item["name"] for item in first["items"]], first["next"]) == (["a", "b", "c"], "c")
    last = (await service.get("/rubrics", params={"limit": 3, "after": first["next"]})).json()
    assert ([item["name"] for item in last["items"]], last["next"]) == (["t2i"], None)


async def test_a_set_is_summed_up(three_versions) -> None:
    await three_versions.put("/rubrics/set/aliases/production", json={"version": 2})
    summary = (await three_versions.get("/rubrics/set")).json()
    newest = (await three_versions.get("/rubrics/set/versions/3")).json()
    assert summary == {
        "name": "set",
        "latest": 3,
        "digest": newest["digest"],
        "task": "t2i",
        "mode": "pairwise",
        "num_criteria": 1,
        "aliases": {"production": 2},
    }


async def test_versions_are_listed_newest_first(three_versions) -> None:
    first = (await three_versions.get("/rubrics/set/versions", params={"limit": 2})).json()
    assert ([item["version"] for item in first["items"]], first["next"]) == ([3, 2], 2)
    assert (await three_versions.get("/rubrics/nothing/versions")).status_code == 404


@pytest.mark.parametrize("path", ["set/versions/4", "set/versions/999999999", "other/versions/1", "set/aliases/x"])
async def test_what_does_not_exist_is_an_unknown_rubric(three_versions, path) -> None:
    answer = await three_versions.get(f"/rubrics/{path}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/unknown-rubric"


async def test_an_alias_moves_and_is_removed(three_versions) -> None:
    url = "/rubrics/set/aliases/production"
    created = await three_versions.put(url, json={"version": 1})
    assert created.json() == {"name": "set", "alias": "production", "version": 1}
    moved = await three_versions.put(url, json={"version": 3})
    assert (moved.status_code, moved.json()["version"]) == (200, 3)
    assert moved.headers["ETag"] == (await three_versions.get(url)).headers["ETag"] != created.headers["ETag"]
    assert (await three_versions.delete(url)).status_code == 204
    assert (await three_versions.get(url)).status_code == 404


async def test_of_two_writers_who_saw_the_same_alias_one_wins(three_versions) -> None:
    url = "/rubrics/set/aliases/production"
    tag = (await three_versions.put(url, json={"version": 1})).headers["ETag"]
    answers = await asyncio.gather(
        *(three_versions.put(url, json={"version": n}, headers={"If-Match": tag}) for n in (2, 3))
    )
    winner, loser = sorted(answers, key=lambda answer: answer.status_code)
    assert (winner.status_code, loser.status_code) == (200, 412)
    assert loser.json()["type"] == "/problems/alias-changed"
    assert (await three_versions.get(url)).json() == winner.json()


async def test_conditions_cover_creation_and_removal(three_versions) -> None:
    url = "/rubrics/set/aliases/production"
    must_exist, must_not_exist = {"If-Match": "*"}, {"If-None-Match": "*"}
    assert (await three_versions.put(url, json={"version": 1}, headers=must_exist)).status_code == 412
    assert (await three_versions.put(url, json={"version": 1}, headers=must_not_exist)).status_code == 200
    assert (await three_versions.put(url, json={"version": 2}, headers=must_not_exist)).status_code == 412
    assert (await three_versions.delete(url, headers={"If-Match": '"2"'})).status_code == 412
    assert (await three_versions.delete(url, headers={"If-Match": '"7", "1"'})).status_code == 204


@pytest.mark.parametrize("alias", ["latest", "none", "3", "v3", "UPPER"])
async def test_reserved_and_malformed_aliases_are_refused(three_versions, alias) -> None:
    answer = await three_versions.put(f"/rubrics/set/aliases/{alias}", json={"version": 1})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "path.alias"


@pytest.mark.parametrize("version", [0, 10**30, "x"])
async def test_an_alias_needs_a_version_number(three_versions, version) -> None:
    answer = await three_versions.put("/rubrics/set/aliases/production", json={"version": version})
    assert answer.status_code == 422


async def test_an_alias_needs_a_version_that_exists(three_versions) -> None:
    answer = await three_versions.put("/rubrics/set/aliases/production", json={"version": 4})
    assert answer.status_code == 404
