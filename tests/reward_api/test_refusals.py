import json
from collections.abc import AsyncIterator

import httpx
import pytest

from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem

PAIR = {"id": "g", "prompt": "a lamp", "candidates": ["a", "b"]}


def refused(answer: httpx.Response, status: int, slug: str) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert (problem.status, problem.slug) == (status, slug)
    assert problem.request_id == answer.headers["X-Request-Id"]
    return problem


@pytest.fixture
def images(png) -> dict[str, bytes]:
    return {"a": png(1.0), "b": png(0.0)}


async def test_an_unknown_image_is_named(service, ask, images, judge) -> None:
    calls = judge.num_calls
    group = PAIR | {"candidates": ["a", "missing"]}
    problem = refused(await ask(service, [PAIR, group | {"id": "h"}], images), 422, "unknown-image")
    assert problem.part == "missing"
    assert problem.errors[0].where == "meta.groups.1"
    assert judge.num_calls == calls


async def test_the_meta_part_is_no_image(service, ask, images) -> None:
    group = PAIR | {"candidates": ["a", "meta"]}
    assert refused(await ask(service, [group], images), 422, "unknown-image").part == "meta"


async def test_an_unused_image_is_named(service, ask, images, png) -> None:
    answer = await ask(service, [PAIR], images | {"spare": png()})
    assert refused(answer, 422, "unused-image").part == "spare"


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n truncated"])
async def test_a_bad_image_is_named_before_the_judge_is_asked(service, ask, images, judge, data) -> None:
    calls = judge.num_calls
    assert refused(await ask(service, [PAIR], images | {"b": data}), 422, "invalid-image").part == "b"
    assert judge.num_calls == calls


async def test_images_beyond_the_limits_are_refused(running, ask, images, png) -> None:
    async with running(max_image_pixels=100, max_image_side=16) as service:
        await service.post("/rubrics/t2i/versions", json={"content": {"task": "t2i"}})
        for size in ((16, 16), (20, 1)):
            answer = await ask(service, [PAIR], {"a": png(size=(5, 5)), "b": png(size=size)})
            assert refused(answer, 422, "invalid-image").part == "b"


async def test_a_long_prompt_is_named(service, ask, images) -> None:
    groups = [PAIR, PAIR | {"id": "long", "prompt": "x" * 8001}]
    problem = refused(await ask(service, groups, images), 422, "prompt-too-long")
    assert [error.where for error in problem.errors] == ["meta.groups.1.prompt"]


@pytest.mark.parametrize("rubric", ["missing", "t2i@2", "t2i@production"])
async def test_an_unknown_rubric_is_not_found(service, ask, images, rubric) -> None:
    assert "rubric" in refused(await ask(service, [PAIR], images, rubric=rubric), 404, "unknown-rubric").detail


async def test_text_that_names_no_rubric_is_explained(service, ask, images) -> None:
    problem = refused(await ask(service, [PAIR], images, rubric="No Such@@"), 422, "invalid-request")
    assert problem.errors[0].where == "meta.rubric"


async def test_an_edit_rubric_needs_sources_and_others_refuse_them(service, ask, images, png) -> None:
    await service.post("/rubrics/edits/versions", json={"content": {"task": "edit"}})
    with_source = PAIR | {"source": "s"}
    refused(await ask(service, [PAIR], images, rubric="edits"), 422, "task-mismatch")
    refused(await ask(service, [with_source], images | {"s": png()}), 422, "task-mismatch")
    mixed = [PAIR, with_source | {"id": "h"}]
    problem = refused(await ask(service, mixed, images | {"s": png()}, rubric="t2i@none"), 422, "task-mismatch")
    assert problem.errors[0].where == "meta.groups.1.source"


@pytest.mark.parametrize(
    ("meta", "where"),
    [
        ("{", "meta"),
        ('{"rubric": "t2i"}', "meta.groups"),
        ('{"rubric": "t2i", "groups": []}', "meta.groups"),
        (json.dumps({"rubric": "t2i", "groups": [PAIR], "typo": 1}), "meta.typo"),
        (json.dumps({"rubric": "t2i", "groups": [PAIR | {"prompt": ""}]}), "meta.groups.0.prompt"),
        (json.dumps({"rubric": "t2i", "groups": [PAIR | {"prompt": "a\x00b"}]}), "meta.groups.0.prompt"),
        ('{"rubric": "t2i", "groups": [{"id": "g", "prompt": "\\ud800", "candidates": ["a", "b"]}]}', "meta"),
        (json.dumps({"rubric": "t2i", "groups": [PAIR | {"candidates": []}]}), "meta.groups.0.candidates"),
        (json.dumps({"rubric": "t2i", "groups": [PAIR | {"candidates": ["a"] * 65}]}), "meta.groups.0.candidates"),
        (json.dumps({"rubric": "t2i", "groups": [PAIR, PAIR]}), "meta"),
        (json.dumps({"rubric": "t2i", "groups": [PAIR], "orders": "random"}), "meta.orders"),
        (json.dumps({"rubric": "t2i", "groups": [PAIR], "tie_margin": -1}), "meta.tie_margin"),
        ('{"rubric": "t2i", "groups": [], "tie_margin": NaN}', "meta.tie_margin"),
        ('{"rubric": "t2i", "groups": [], "deadline_seconds": 1e999}', "meta.deadline_seconds"),
    ],
)
async def test_a_bad_meta_part_is_explained_field_by_field(service, images, meta, where) -> None:
    files = [("meta", meta.encode()), *images.items()]
    problem = refused(await service.post("/reward", files=files), 422, "invalid-request")
    assert problem.part == "meta"
    assert where in {error.where for error in problem.errors}


async def test_a_bad_rubric_set_in_the_request_is_explained_too(service, ask, images) -> None:
    rubric = {"task": "t2i", "criteria": [{"id": "c", "theme": "Colour", "weight": -1}]}
    problem = refused(await ask(service, [PAIR], images, rubric=rubric), 422, "invalid-request")
    paths = [error.where for error in problem.errors]
    assert any(path.startswith("meta.rubric.") and path.endswith(".criteria.0.weight") for path in paths)


POINTWISE = {"task": "t2i", "mode": "pointwise", "criteria": [{"id": "c", "theme": "Brightness"}]}


@pytest.mark.parametrize(
    ("candidates", "meta", "where", "sentence"),
    [
        (["a"], {}, "groups.1.candidates", "pairwise judging needs at least 2 candidates"),
        (["a"] * 9, {}, "groups.1.candidates", "up to 8 candidates are compared pairwise; this group has 9"),
        (["a"] * 3, {"reward": {}}, "groups.1.candidates", "`binary` rewards are for 2 candidates; this group has 3"),
        (["a", "b"], {"reward": {"scheme": "score"}}, "reward.scheme", "`score` is for pointwise judging"),
        (["a", "b"], {"tie_score": 0.1}, "tie_score", "is for pointwise judging"),
        (["a", "b"], {"rubric": POINTWISE, "tie_margin": 0.1}, "tie_margin", "is for pairwise judging"),
        (["a"], {"rubric": POINTWISE, "reward": {"scheme": "rank"}}, "groups.1.candidates", "compare at least 2"),
        (["a"], {"rubric": POINTWISE, "reward": {}}, "groups.1.candidates", "`binary` rewards are for 2"),
        (["a"], {"rubric": POINTWISE, "mode": "pairwise"}, "groups.1.candidates", "at least 2 candidates"),
        (["a", "b"], {"rubric": "t2i@none", "mode": "pointwise"}, "rubric", "needs a rubric set with criteria"),
        (["a", "b"], {"mode": "pointwise"}, "rubric", "needs a rubric set with criteria"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    service, ask, images, judge, candidates, meta, where, sentence
) -> None:
    calls = judge.num_calls
    answer = await ask(service, [PAIR, PAIR | {"id": "h", "candidates": candidates}], images, **meta)
    problem = refused(answer, 422, "invalid-request")
    assert [error.where for error in problem.errors] == [f"meta.{where}"]
    assert sentence in problem.errors[0].message
    assert (problem.part, judge.num_calls) == ("meta", calls)


async def test_a_missing_meta_part_is_named(service, images) -> None:
    problem = refused(await service.post("/reward", files=list(images.items())), 422, "invalid-request")
    assert problem.part == "meta"


async def test_a_part_sent_twice_is_named(service, images) -> None:
    meta = ("meta", json.dumps({"rubric": "t2i", "groups": [PAIR]}).encode())
    files = [meta, *images.items(), ("a", images["b"])]
    assert refused(await service.post("/reward", files=files), 422, "invalid-request").part == "a"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="meta"\r\n\r\n{}'),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\nnameless\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 1000, b""),
    ],
)
async def test_a_damaged_multipart_body_is_refused(service, content_type, body) -> None:
    answer = await service.post("/reward", content=body, headers={"Content-Type": content_type})
    refused(answer, 422, "invalid-request")


async def test_a_flood_of_parts_is_refused(service) -> None:
    parts = [b'--x\r\nContent-Disposition: form-data; name="%d"\r\n\r\n\r\n' % number for number in range(9218)]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await service.post("/reward", content=b"".join(parts) + b"--x--\r\n", headers=headers)
    assert "9217 parts" in refused(answer, 422, "invalid-request").detail


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", ""])
async def test_other_content_types_are_refused(service, content_type) -> None:
    answer = await service.post("/reward", content=b"{}", headers={"Content-Type": content_type})
    refused(answer, 415, "unsupported-media-type")


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1024 * 1024):
        yield body[start : start + 1024 * 1024]


@pytest.mark.parametrize("path", ["/reward", "/rubrics/t2i/versions"])
@pytest.mark.parametrize("is_length_announced", [True, False])
async def test_a_body_beyond_the_limit_is_refused(running, path, is_length_announced) -> None:
    async with running(max_body_mb=1) as service:
        body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + bytes(2 * 1024 * 1024)
        content = body if is_length_announced else chunks(body)
        kind = "multipart/form-data; boundary=x" if path == "/reward" else "application/json"
        answer = await service.post(path, content=content, headers={"Content-Type": kind})
        refused(answer, 413, "body-too-large")


async def test_the_framework_speaks_in_problems_too(service) -> None:
    refused(await service.get("/nothing/here"), 404, "not-found")
    answer = await service.get("/reward")
    refused(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "POST"
    answer = await service.patch("/rubrics/t2i/aliases/production")
    refused(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "DELETE, GET, PUT"
    problem = refused(await service.get("/rubrics", params={"limit": "many"}), 422, "invalid-request")
    assert [error.where for error in problem.errors] == ["query.limit"]
    refused(await service.get("/rubrics/UPPER"), 422, "invalid-request")


@pytest.mark.parametrize(
    "body", [b"{", b'{"content": "\xff"}', b"[" * 100_000 + b"]" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"]
)
async def test_a_body_that_cannot_be_read_is_refused_as_a_bad_one(service, body: bytes) -> None:
    answer = await service.post("/rubrics/t2i/versions", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, "invalid-request")
