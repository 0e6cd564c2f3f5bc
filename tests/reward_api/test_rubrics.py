import asyncio
import hashlib
import json

import pytest

from services.reward_api.api_keys import KeyFile
from shared_schemas.access import Scope


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
        "metrics": None,
        "archived": False,
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


async def test_an_archived_version_is_left_out_of_listings_until_it_is_asked_for(three_versions) -> None:
    answer = await three_versions.post("/rubrics/set/versions/3/archive")
    assert (answer.status_code, answer.json()["archived"]) == (200, True)
    assert (await three_versions.get("/rubrics/set")).json()["latest"] == 2
    listed = (await three_versions.get("/rubrics/set/versions")).json()["items"]
    assert [version["version"] for version in listed] == [2, 1]
    listed = (await three_versions.get("/rubrics/set/versions", params={"archived": True})).json()["items"]
    assert [version["version"] for version in listed] == [3, 2, 1]
    assert (await three_versions.get("/rubrics/set/versions/3")).json()["archived"]
    answer = await three_versions.delete("/rubrics/set/versions/3/archive")
    assert (answer.status_code, answer.json()["archived"]) == (200, False)
    assert (await three_versions.get("/rubrics/set")).json()["latest"] == 3


async def test_a_set_of_archived_versions_is_listed_on_request(service) -> None:
    await service.post("/rubrics/set/versions", json=content("one"))
    await service.post("/rubrics/set/versions/1/archive")
    assert [item["name"] for item in (await service.get("/rubrics")).json()["items"]] == ["t2i"]
    listed = (await service.get("/rubrics", params={"archived": True})).json()["items"]
    assert [(item["name"], item["archived"]) for item in listed] == [("set", True), ("t2i", False)]
    answer = await service.get("/rubrics/set")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-rubric")
    assert "archived" in answer.json()["detail"]


async def test_a_version_that_an_alias_points_at_cannot_be_archived(three_versions) -> None:
    await three_versions.put("/rubrics/set/aliases/production", json={"version": 2})
    answer = await three_versions.post("/rubrics/set/versions/2/archive")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/archived-alias")
    assert "set@production" in answer.json()["detail"]
    await three_versions.post("/rubrics/set/versions/1/archive")
    answer = await three_versions.put("/rubrics/set/aliases/production", json={"version": 1})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/archived-alias")
    assert (await three_versions.get("/rubrics/set/aliases/production")).json()["version"] == 2


async def test_publishing_archived_content_takes_it_out_of_the_archive(three_versions) -> None:
    await three_versions.post("/rubrics/set/versions/3/archive")
    answer = await three_versions.post("/rubrics/set/versions", json=content("three"))
    assert (answer.status_code, answer.json()["version"], answer.json()["archived"]) == (200, 3, False)


async def test_what_is_attached_to_a_version_makes_an_old_copy_stale(three_versions) -> None:
    first = await three_versions.get("/rubrics/set/versions/2")
    assert first.headers["ETag"] == f'"{first.json()["digest"]}"'
    archived = await three_versions.post("/rubrics/set/versions/2/archive")
    again = await three_versions.get("/rubrics/set/versions/2", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.json()) == (200, archived.json())
    assert again.headers["ETag"].startswith(f'"{first.json()["digest"]}+')
    fresh = await three_versions.get("/rubrics/set/versions/2", headers={"If-None-Match": again.headers["ETag"]})
    assert fresh.status_code == 304
    await three_versions.delete("/rubrics/set/versions/2/archive")
    last = await three_versions.get("/rubrics/set/versions/2", headers={"If-None-Match": first.headers["ETag"]})
    assert last.status_code == 304


async def test_versions_are_compared(three_versions) -> None:
    answer = await three_versions.get("/rubrics/set/diff", params={"from": 1, "to": 3})
    diff = answer.json()
    assert (answer.status_code, diff["name"], diff["before"], diff["after"], diff["fields"]) == (200, "set", 1, 3, {})
    (change,) = diff["criteria"]
    assert (change["change"], change["before"]["theme"], change["after"]["theme"]) == ("changed", "one", "three")
    assert (await three_versions.get("/rubrics/set/diff", params={"from": 2, "to": 2})).json()["criteria"] == []


@pytest.mark.parametrize(
    ("numbers", "status"), [({"from": 1, "to": 4}, 404), ({"from": 1}, 422), ({"from": 0, "to": 1}, 422)]
)
async def test_versions_that_cannot_be_compared(three_versions, numbers, status) -> None:
    assert (await three_versions.get("/rubrics/set/diff", params=numbers)).status_code == status


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/rubrics/set/versions/9/archive"), ("DELETE", "/rubrics/set/versions/9/archive")],
)
async def test_there_is_nothing_to_archive(three_versions, method, path) -> None:
    answer = await three_versions.request(method, path)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-rubric")


def guided(preferred: str, dispreferred: str) -> dict[str, object]:
    exemplar = {"prompt": "a lamp", "preferred": preferred, "dispreferred": dispreferred, "rationale": "It is bright."}
    return {"content": {"task": "t2i", "guide": [exemplar]}}


async def upload(service, png, prompt: str) -> list[str]:
    row = json.dumps({"prompt": prompt, "images": ["a.png", "b.png"], "rank": [1, 2]})
    images = {"a.png": png(1.0), "b.png": png(0.0)}
    files = [("pairs", ("pairs.jsonl", row, "application/jsonl"))]
    files += [(name, (name, data, "image/png")) for name, data in images.items()]
    assert (await service.post("/datasets", files=files)).status_code == 201
    return [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in images.values()]


async def test_a_guide_may_show_images_of_a_dataset(service, png) -> None:
    digests = await upload(service, png, "a lamp")
    answer = await service.post("/rubrics/guided/versions", json=guided(*digests))
    assert answer.status_code == 201, answer.text
    assert answer.json()["content"]["guide"][0]["preferred"] == digests[0]


async def test_a_guide_that_shows_what_no_dataset_has_is_refused_and_the_image_named(service, png) -> None:
    bright, _ = await upload(service, png, "a lamp")
    unknown = "sha256:" + "0" * 64
    answer = await service.post("/rubrics/guided/versions", json=guided(bright, unknown))
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "/problems/unknown-image")
    assert unknown in problem["detail"]
    assert [error["where"] for error in problem["errors"]] == ["body.content.guide.0.dispreferred"]
    assert (await service.get("/rubrics/guided")).status_code == 404


async def test_a_guide_shows_nothing_of_other_tenants(running, png, tmp_path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    owner, other = (file.add(name, tenant=name, scopes=[Scope.RUBRICS])[1] for name in ("lab-a", "lab-b"))
    async with running(api_keys=file.path) as service:
        service.headers["Authorization"] = f"Bearer {owner}"
        digests = await upload(service, png, "a lamp")
        service.headers["Authorization"] = f"Bearer {other}"
        assert (await service.post("/rubrics/guided/versions", json=guided(*digests))).status_code == 422
        service.headers["Authorization"] = f"Bearer {owner}"
        assert (await service.post("/rubrics/guided/versions", json=guided(*digests))).status_code == 201
