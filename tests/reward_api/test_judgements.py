"""The audit trail over HTTP: what is listed, who sees it, and that what was kept can be judged again."""

import asyncio
import base64
import io
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

from arr.service_process import running_service
from reward_client import CandidateGroup, RewardClient
from services.reward_api.api_keys import KeyFile
from shared_schemas.access import Scope
from shared_schemas.judgements import Judgement, JudgementDetail, JudgementPage

COLOUR = {"task": "t2i", "criteria": [{"id": "colour", "theme": "The colour named in the prompt"}]}
EDIT = {
    "task": "edit",
    "criteria": [
        {"id": "kept", "theme": "The rest of the source is preserved"},
        {"id": "colour", "theme": "The colour named in the instruction"},
    ],
}
POINTWISE = {
    "task": "t2i",
    "mode": "pointwise",
    "criteria": [{"id": "colour", "theme": "The colour named"}, {"id": "shape", "theme": "The shape named"}],
}
INLINE = {"task": "t2i", "criteria": [{"id": "plain", "theme": "A plain background", "weight": 0.5}]}


def drawing(fill: str, *, shape: str = "ellipse") -> bytes:
    image = Image.new("RGB", (48, 48), "white")
    getattr(ImageDraw.Draw(image), shape)((10, 10, 38, 38), fill=fill)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


RED, BLUE, GREY = drawing("red"), drawing("blue", shape="rectangle"), drawing("grey")
PAIR = {"id": "p0", "prompt": "a red circle", "candidates": ["red", "blue"]}
EDITED = PAIR | {"prompt": "make it red", "source": "grey"}
PICTURES = {"red": RED, "blue": BLUE}


@pytest.fixture
async def keeping(running) -> AsyncIterator[httpx.AsyncClient]:
    """The service with the pixel judge, every image kept and three published rubric sets."""
    async with running(judge_urls=(), audit_images="all") as client:
        for name, content in {"t2i": COLOUR, "edit": EDIT, "pointwise": POINTWISE}.items():
            answer = await client.post(f"/rubrics/{name}/versions", json={"content": content})
            assert answer.status_code == 201
        yield client


async def listed(client: httpx.AsyncClient, num: int, **options: Any) -> JudgementPage:
    """The page once it has `num` items: judgements are written behind the requests."""
    async with asyncio.timeout(10):
        while True:
            answer = await client.get("/judgements", **options)
            assert answer.status_code == 200, answer.text
            page = JudgementPage.model_validate_json(answer.content)
            if len(page.items) >= num:
                return page
            await asyncio.sleep(0.02)


async def detail(client: httpx.AsyncClient, id: int) -> JudgementDetail:
    answer = await client.get(f"/judgements/{id}")
    assert answer.status_code == 200, answer.text
    return JudgementDetail.model_validate_json(answer.content)


def kept_images(judgement: JudgementDetail) -> dict[str, bytes]:
    return {part: base64.b64decode(png) for part, png in judgement.images.items()}


def said_by_question(judgement: Judgement) -> dict[str, tuple[object, ...]]:
    """Everything the judge said, without what it cost."""
    return {
        said.question: (said.key, said.log_p_first, said.log_p_second, said.label_mass, said.chose_first)
        for said in judgement.answers
    }


async def test_every_pair_of_a_request_is_a_judgement(keeping, ask) -> None:
    groups = [PAIR | {"candidates": ["red", "blue", "grey"]}, PAIR | {"id": "p1", "prompt": "a blue square"}]
    await ask(keeping, groups, PICTURES | {"grey": GREY}, run={"id": "flux-42", "step": 17, "rank": 3})
    page = await listed(keeping, 4)
    assert [item.group for item in page.items] == ["p1", "p0", "p0", "p0"]
    assert {(item.run, item.step, item.rank, item.tenant) for item in page.items} == {("flux-42", 17, 3, "local")}
    assert {item.rubric.reference for item in page.items} == {"t2i@1"}
    for item in page.items:
        assert {answer.question for answer in item.answers} == {"first-second", "second-first"}
        assert item.judge.model == "pixel-judge"


async def test_what_was_said_is_what_was_answered(keeping, ask) -> None:
    answer = await ask(keeping, [PAIR], PICTURES)
    [verdict] = answer.json()["results"][0]["pairs"]
    [item] = (await listed(keeping, 1)).items
    said = item.model_dump()["answers"]
    log_odds = {answer["question"]: answer["log_p_first"] - answer["log_p_second"] for answer in said}
    l_12, l_21 = log_odds["first-second"], log_odds["second-first"]
    assert ((l_12 - l_21) / 2, (l_12 + l_21) / 2) == (verdict["margin"], verdict["position_bias"])
    assert item.request_id == answer.headers["X-Request-Id"]
    assert [said.cached for said in item.answers] == [False, False]


async def test_an_answer_from_the_cache_is_a_judgement_of_its_own(keeping, ask) -> None:
    await ask(keeping, [PAIR], PICTURES)
    await ask(keeping, [PAIR], PICTURES)
    again, first = (await listed(keeping, 2)).items
    assert [(said.cached, said.latency_ms) for said in again.answers] == [(True, None)] * 2
    assert said_by_question(again) == said_by_question(first)


async def test_criteria_asked_beside_a_pair_are_judgements_of_single_images(keeping, ask) -> None:
    await ask(keeping, [PAIR], PICTURES, per_criterion=True)
    items = (await listed(keeping, 3)).items
    assert sorted(item.mode for item in items) == ["pairwise", "pointwise", "pointwise"]
    assert {said.question for item in items if item.mode == "pointwise" for said in item.answers} == {"colour"}


async def test_a_failure_is_a_judgement_without_a_verdict(service, ask, png) -> None:
    broken = {"id": "p0", "prompt": "BROKEN", "candidates": ["a", "b"]}
    await ask(service, [broken], {"a": png(0.2), "b": png(0.8)}, deadline_seconds=5)
    [item] = (await listed(service, 1)).items
    assert (item.error, item.answers) == ("judge-unavailable", ())


async def test_pages_lead_from_the_newest_to_the_oldest(keeping, ask) -> None:
    groups = [PAIR | {"id": f"p{n}"} for n in range(5)]
    await ask(keeping, groups, PICTURES, run={"id": "one"})
    await ask(keeping, [PAIR | {"id": "other"}], PICTURES, run={"id": "two"}, rubric="t2i@none")
    await listed(keeping, 6)
    page = await listed(keeping, 2, params={"run": "one", "limit": 2})
    seen = [item.group for item in page.items]
    while page.next is not None:
        page = await listed(keeping, 1, params={"run": "one", "limit": 2, "before": page.next})
        seen += [item.group for item in page.items]
    assert sorted(seen) == ["p0", "p1", "p2", "p3", "p4"]
    assert [item.group for item in (await listed(keeping, 1, params={"rubric": "t2i@none"})).items] == ["other"]
    digest = (await keeping.get("/rubrics/t2i")).json()["digest"]
    assert len((await listed(keeping, 5, params={"rubric": digest})).items) == 5
    assert len((await listed(keeping, 6, params={"rubric": "t2i"})).items) == 6


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ({"rubric": "t2i@production"}, "query.rubric"),
        ({"rubric": "no such reference!"}, "query.rubric"),
        ({"rubric": "sha256:abc"}, "query.rubric"),
        ({"run": "a b"}, "query.run"),
        ({"before": "0"}, "query.before"),
        ({"before": str(2**63)}, "query.before"),
        ({"limit": "201"}, "query.limit"),
    ],
)
async def test_what_cannot_be_looked_for_is_explained(service, params, where) -> None:
    answer = await service.get("/judgements", params=params)
    assert answer.status_code == 422
    assert [error["where"] for error in answer.json()["errors"]] == [where]


async def test_an_unknown_judgement_is_a_404(service) -> None:
    answer = await service.get("/judgements/1")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-judgement")


async def test_without_keeping_images_the_rubric_is_still_told(running, ask) -> None:
    async with running(judge_urls=()) as client:
        await client.post("/rubrics/t2i/versions", json={"content": COLOUR})
        await ask(client, [PAIR], PICTURES)
        await ask(client, [PAIR], PICTURES, rubric=INLINE)
        inline, published = (await listed(client, 2)).items
        assert not published.images_kept
        assert (await detail(client, published.id)).images == {}
        content = (await detail(client, published.id)).rubric_content
        assert content is not None
        assert content.criteria[0].id == "colour"
        assert (await detail(client, inline.id)).rubric_content is None


async def test_images_that_are_gone_are_not_said_to_be_kept(keeping, ask, tmp_path: Path) -> None:
    await ask(keeping, [PAIR], PICTURES)
    [item] = (await listed(keeping, 1)).items
    assert item.images_kept
    for blob in (tmp_path / "blobs" / "images").rglob(f"{item.first.removeprefix('sha256:')}.png"):
        blob.unlink()
    judgement = await detail(keeping, item.id)
    assert (judgement.images_kept, judgement.images) == (False, {})


REPLAYED = [
    pytest.param([PAIR], PICTURES, {}, id="pair"),
    pytest.param([PAIR], PICTURES, {"orders": "single"}, id="one order"),
    pytest.param([EDITED], PICTURES | {"grey": GREY}, {"rubric": "edit"}, id="edit"),
    pytest.param([PAIR], PICTURES, {"rubric": "pointwise"}, id="pointwise"),
    pytest.param([PAIR], PICTURES, {"rubric": "pointwise", "mode": "pairwise"}, id="mode by request"),
    pytest.param([PAIR], PICTURES, {"per_criterion": True}, id="per criterion"),
    pytest.param([PAIR], PICTURES, {"rubric": INLINE}, id="inline"),
    pytest.param([PAIR], PICTURES, {"rubric": "t2i@none"}, id="none"),
    pytest.param([EDITED], PICTURES | {"grey": GREY}, {"rubric": "x@none"}, id="none, edit"),
]


@pytest.mark.parametrize(("groups", "images", "meta"), REPLAYED)
async def test_what_was_kept_replays_to_the_same_log_probabilities(keeping, ask, groups, images, meta) -> None:
    await ask(keeping, groups, images, run={"id": "original"}, **meta)
    recorded = (await listed(keeping, 1, params={"run": "original"})).items
    for number, item in enumerate(recorded):
        judgement = await detail(keeping, item.id)
        assert judgement.rubric_content is not None
        pictures = kept_images(judgement)
        group = {"id": "again", "prompt": judgement.prompt, "candidates": [p for p in pictures if p != "source"]}
        group |= {"source": "source"} if "source" in pictures else {}
        run = {"id": f"replay-{number}"}
        content = judgement.rubric_content.model_dump(mode="json")
        orders = "single" if judgement.second and len(judgement.answers) == 1 else "both"
        await ask(keeping, [group], pictures, rubric=content, mode=judgement.mode, orders=orders, cache="off", run=run)
        [replayed] = (await listed(keeping, 1, params={"run": run["id"]})).items
        assert (replayed.first, replayed.second, replayed.source) == (item.first, item.second, item.source)
        assert replayed.judge == item.judge
        assert replayed.rubric.digest == item.rubric.digest
        assert said_by_question(replayed) == said_by_question(item)


async def test_another_tenants_judgements_are_not_there(running, ask, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    tokens = {
        name: file.add(name, tenant=name, scopes=scopes)[1]
        for name, scopes in {"lab-a": [Scope.REWARD], "lab-b": [Scope.REWARD], "boss": [Scope.ADMIN]}.items()
    }
    headers = {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}
    async with running(judge_urls=(), api_keys=file.path) as client:
        client.headers = headers["lab-a"]
        await ask(client, [PAIR], PICTURES, rubric="x@none")
        [item] = (await listed(client, 1)).items
        assert item.tenant == "lab-a"
        for name, status, num in (("lab-a", 200, 1), ("lab-b", 404, 0), ("boss", 200, 1)):
            client.headers = headers[name]
            assert (await client.get(f"/judgements/{item.id}")).status_code == status
            assert len((await listed(client, num)).items) == num


def test_a_process_that_is_told_to_stop_writes_every_judgement_first(tmp_path: Path) -> None:
    num_pairs = 300
    groups = [CandidateGroup(f"a red circle {n}", (RED, BLUE)) for n in range(num_pairs)]
    with running_service(tmp_path / "data", log=tmp_path / "serve.log") as service:
        with RewardClient(service.url) as client:
            client.reward(groups, rubric="x@none")
        service.stop()  # SIGTERM right behind the answer, before the writer's half second is over
    with sqlite3.connect(tmp_path / "data" / "arr.db") as database:
        [[num_rows]] = database.execute("SELECT count(*) FROM judgements").fetchall()
    database.close()
    assert num_rows == num_pairs
