"""`/datasets` over HTTP: what is stored, what is refused, and who sees it."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from services.reward_api.api_keys import KeyFile
from services.reward_api.app import create_app
from services.reward_api.dataset_intake import MAX_ROWS_BYTES
from services.reward_api.settings import Settings
from shared_schemas.access import Scope
from shared_schemas.datasets import Dataset, DatasetPage, DatasetRow, DatasetRowPage
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem
from shared_schemas.rubrics import Task

ROWS = [
    {"prompt": "a red square", "images": ["red.png", "blue.jpg"], "rank": [1, 2]},
    {"query": "a green square", "responses": ["green.webp", "red.png", "blue.jpg"], "label_score": [0.9, 0.1, 0.1]},
]


def picture(colour: str, format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, format=format)
    return buffer.getvalue()


FILES = {"red.png": picture("red", "PNG"), "blue.jpg": picture("blue", "JPEG"), "green.webp": picture("green", "WEBP")}

MEDIA_TYPES = {"red.png": "image/png", "blue.jpg": "image/jpeg", "green.webp": "image/webp"}


async def upload(service: httpx.AsyncClient, rows: Any, files: Mapping[str, bytes]) -> httpx.Response:
    pairs = rows if isinstance(rows, bytes) else "\n".join(map(json.dumps, rows)).encode()
    parts = [("pairs", ("pairs.jsonl", pairs)), *((name, (name, data)) for name, data in files.items())]
    return await service.post("/datasets", files=parts)


def refused(answer: httpx.Response, status: int, slug: str) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert problem.slug == slug
    return problem


def blobs_in(folder: Path) -> list[Path]:
    return [path for path in (folder / "blobs").rglob("*") if path.is_file()]


async def test_an_upload_answers_with_the_dataset(service) -> None:
    answer = await upload(service, ROWS, FILES)
    assert answer.status_code == 201, answer.text
    dataset = Dataset.model_validate_json(answer.content)
    assert (dataset.task, dataset.num_rows, dataset.num_pairs, dataset.num_ties) == (Task.T2I, 2, 4, 1)
    assert (dataset.num_images, dataset.num_bytes) == (3, sum(map(len, FILES.values())))
    assert (await service.get(answer.headers["Location"])).json() == answer.json()


async def test_the_same_rows_again_in_any_order_answer_with_the_old_dataset(service) -> None:
    first = await upload(service, ROWS, FILES)
    again = await upload(service, ROWS[::-1], FILES)
    assert (again.status_code, again.json()) == (200, first.json())
    assert len((await service.get("/datasets")).json()["items"]) == 1


async def test_rows_and_images_are_read_back_and_can_be_sent_again(service) -> None:
    first = Dataset.model_validate_json((await upload(service, ROWS, FILES)).content)
    page = DatasetRowPage.model_validate_json((await service.get(f"/datasets/{first.id}/pairs")).content)
    assert [row.rank for row in page.items] == [(1, 2), (1, 2, 2)]
    assert page.items[1].score == (0.9, 0.1, 0.1)
    images = {}
    for digest, name in zip(page.items[1].images, ("green.webp", "red.png", "blue.jpg"), strict=True):
        image = await service.get(f"/datasets/{first.id}/images/{digest}")
        assert image.content == FILES[name]
        assert image.headers["Content-Type"] == MEDIA_TYPES[name]
        assert image.headers["X-Content-Type-Options"] == "nosniff"
        images[digest] = image.content
    again = await upload(service, [row.model_dump() for row in page.items], images)
    assert (again.status_code, again.json()["id"]) == (200, first.id)


async def test_edits_have_sources(service) -> None:
    row = {"instruction": "make it blue", "edited_images": ["red.png", "blue.jpg"], "label_rank": [2, 1]}
    answer = await upload(service, [{**row, "original_image": "green.webp"}], FILES)
    assert answer.json()["task"] == "edit"
    [kept] = (await service.get(f"/datasets/{answer.json()['id']}/pairs")).json()["items"]
    assert kept["source"] is not None
    assert kept["rank"] == [2, 1]


async def test_datasets_and_rows_are_listed_in_pages(service) -> None:
    red_blue = {name: FILES[name] for name in ("red.png", "blue.jpg")}
    ids = [
        (await upload(service, [{**ROWS[0], "prompt": f"{n} {k}"} for k in range(3)], red_blue)).json()["id"]
        for n in range(3)
    ]
    first = DatasetPage.model_validate_json((await service.get("/datasets", params={"limit": 2})).content)
    assert ([item.id for item in first.items], first.next) == ([ids[2], ids[1]], ids[1])
    last = (await service.get("/datasets", params={"before": first.next})).json()
    assert ([item["id"] for item in last["items"]], last["next"]) == ([ids[0]], None)
    prompts, after = [], None
    while True:
        params = {"limit": 2} | ({} if after is None else {"after": after})
        page = (await service.get(f"/datasets/{ids[1]}/pairs", params=params)).json()
        prompts += [row["prompt"] for row in page["items"]]
        if (after := page["next"]) is None:
            break
    assert prompts == ["1 0", "1 1", "1 2"]


async def test_all_faults_are_told_and_nothing_is_stored(service, tmp_path: Path) -> None:
    rows = [
        ROWS[0],
        {"prompt": "x", "images": ["red.png", "gone.png"], "rank": [1, 2]},
        {"prompt": "x", "images": ["red.png", "gif"], "rank": [1, 2]},
        {"prompt": "x", "images": ["red.png", "blue.jpg"], "rank": [1]},
    ]
    answer = await upload(service, rows, {**FILES, "gif": b"GIF89a"})
    problem = refused(answer, 422, "invalid-dataset")
    assert {error.where for error in problem.errors} == {"pairs.1.images.1", "pairs.2.images.1", "pairs.3.rank"}
    assert problem.detail == "the dataset has 3 faults"
    assert (await service.get("/datasets")).json()["items"] == []
    assert blobs_in(tmp_path) == []


async def test_the_list_of_faults_is_capped_and_counted(service) -> None:
    problem = refused(await upload(service, [{}] * 600, FILES), 422, "invalid-dataset")
    assert len(problem.errors) == 1000
    assert problem.detail == "the dataset has 1200 faults; the first 1000 are listed"


async def test_bodies_that_are_no_upload_are_refused(service) -> None:
    refused(await service.post("/datasets", json={"pairs": []}), 415, "unsupported-media-type")
    refused(await service.post("/datasets", files={"red.png": FILES["red.png"]}), 422, "invalid-request")
    parts = {"archive": b"x", "pairs": b"y"}
    assert refused(await service.post("/datasets", files=parts), 422, "invalid-request").part == "archive"
    twice = [("pairs", b"x"), ("pairs", b"y")]
    assert refused(await service.post("/datasets", files=twice), 422, "invalid-request").part == "pairs"
    damaged = b"--b\r\nContent-Disposition: form-data; name=pairs\r\n\r\n{}"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused(await service.post("/datasets", content=damaged, headers=headers), 422, "invalid-request")


async def test_datasets_have_a_limit_of_their_own(running) -> None:
    large = b"x" * (2 << 20)
    async with running(max_body_mb=1, max_dataset_mb=3) as service:
        refused(await upload(service, ROWS, {**FILES, "large": large}), 422, "invalid-dataset")  # it was read
        too_large = await upload(service, ROWS, {**FILES, "large": large, "larger": large})
        assert str(3 << 20) in refused(too_large, 413, "body-too-large").detail
        refused(await service.post("/reward", files={"meta": large}), 413, "body-too-large")
    async with running(max_body_mb=3, max_dataset_mb=1) as service:
        refused(await upload(service, ROWS, {**FILES, "large": large}), 413, "body-too-large")


async def test_rows_that_would_fill_the_memory_are_refused_however_they_come(service) -> None:
    rows = b"\n" * (MAX_ROWS_BYTES + 1)
    problem = refused(await service.post("/datasets", files={"pairs": rows}), 413, "body-too-large")
    assert problem.part == "pairs"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("pairs.jsonl", rows)
    answer = await service.post("/datasets", files={"archive": archive.getvalue()})
    assert "the rows have more than" in refused(answer, 422, "invalid-dataset").errors[0].message


async def test_images_and_prompts_have_the_limits_of_rewards(running) -> None:
    async with running(max_image_side=7, max_prompt_chars=12) as service:
        problem = refused(await upload(service, ROWS, FILES), 422, "invalid-dataset")
    whole = " ".join(f"{error.where} {error.message}" for error in problem.errors)
    assert "pairs.0.images.0 'red.png' cannot be judged: the image is 8×8 pixels; at most 7 a side" in whole
    assert "pairs.1.prompt has 14 characters; at most 12 are read" in whole


async def test_a_blob_store_that_fails_stores_nothing_and_may_be_tried_again(running, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    full = tmp_path / "blobs" / "datasets"
    full.write_text("a file where a folder should be")
    async with running() as service:
        refused(await upload(service, ROWS, FILES), 503, "unavailable")
        assert (await service.get("/datasets")).json()["items"] == []
        full.unlink()
        assert (await upload(service, ROWS, FILES)).status_code == 201


@pytest.mark.parametrize("path", ["2", "2/pairs", "1/images/sha256:" + "0" * 64, "2/images/sha256:" + "0" * 64])
async def test_what_does_not_exist_is_an_unknown_dataset(service, path: str) -> None:
    await upload(service, ROWS, FILES)
    refused(await service.get(f"/datasets/{path}"), 404, "unknown-dataset")


@pytest.fixture
async def guarded(running, tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, dict[str, str]]]]:
    """The service with keys, and the headers of each holder."""
    file = KeyFile(tmp_path / "keys.json")
    scopes = {"mine": [Scope.RUBRICS], "mine-too": [Scope.REWARD], "theirs": [Scope.RUBRICS], "admin": [Scope.ADMIN]}
    tenants = {"mine": "one", "mine-too": "one", "theirs": "other", "admin": "root"}
    headers = {
        name: {"Authorization": f"Bearer {file.add(name, tenant=tenants[name], scopes=scopes[name])[1]}"}
        for name in scopes
    }
    async with running(api_keys=file.path) as service:
        yield service, headers


async def test_a_dataset_is_seen_by_its_tenant_and_the_admin(guarded) -> None:
    service, headers = guarded
    service.headers.update(headers["mine"])
    dataset = Dataset.model_validate_json((await upload(service, ROWS, FILES)).content)
    assert dataset.tenant == "one"
    row = DatasetRow.model_validate((await service.get(f"/datasets/{dataset.id}/pairs")).json()["items"][0])
    paths = [f"/datasets/{dataset.id}{rest}" for rest in ("", "/pairs", f"/images/{row.images[0]}")]
    for path in paths:
        for holder, status in {"mine": 200, "mine-too": 200, "theirs": 404, "admin": 200}.items():
            assert (await service.get(path, headers=headers[holder])).status_code == status, (path, holder)
    for holder, number in {"mine": 1, "mine-too": 1, "theirs": 0, "admin": 1}.items():
        assert len((await service.get("/datasets", headers=headers[holder])).json()["items"]) == number


async def test_what_another_tenant_uploaded_is_new_all_the_same(guarded) -> None:
    service, headers = guarded
    answers = {}
    for holder in ("mine", "theirs"):
        service.headers.update(headers[holder])
        answers[holder] = await upload(service, ROWS, FILES)
    assert [answer.status_code for answer in answers.values()] == [201, 201]
    assert len({answer.json()["digest"] for answer in answers.values()}) == 1


async def test_uploading_needs_the_scope_rubrics(guarded) -> None:
    service, headers = guarded
    refused(await service.post("/datasets", headers=headers["mine-too"]), 403, "forbidden")


async def test_uploads_leave_no_file_behind(service, tmp_path: Path) -> None:
    await upload(service, ROWS, FILES)
    await upload(service, [{}], FILES)
    assert list((tmp_path / "uploads").iterdir()) == []
    assert len(blobs_in(tmp_path)) == 3


def test_a_disk_that_is_full_is_said_so_and_stores_nothing(tmp_path: Path) -> None:
    script = """
import asyncio, resource, sys, httpx
from pathlib import Path
from services.reward_api.app import create_app
from services.reward_api.settings import Settings

async def main():
    app = create_app(Settings(data_dir=Path(sys.argv[1]), canary_seconds=0))
    async with app.router.lifespan_context(app) as state:
        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://localhost") as client:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
            answer = await client.post("/datasets", files={"pairs": b"{}", "large": b"x" * 2_000_000})
            print(answer.status_code, answer.json()["type"], (await client.get("/datasets")).json()["items"])

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout == "507 /problems/storage-full []\n", done.stderr


def test_the_commands_of_the_guide_store_one_dataset_both_ways(tmp_path: Path, serve) -> None:
    guide = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")
    [script] = [block for block in re.findall(r"```bash\n(.*?)```", guide, flags=re.DOTALL) if "$URL/datasets" in block]
    for colour in ("red", "blue"):
        (tmp_path / f"{colour}.png").write_bytes(picture(colour, "PNG"))
    url = serve(create_app(Settings(data_dir=tmp_path / "data")))
    environment = os.environ | {"URL": url, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('{"id":1,') == 2
