"""Keys and passwords of a real service, with everything wrong that brings them near a log line.

Every other test of this folder listens for secrets, too: see the fixture `ear`."""

from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.reward_api.api_keys import KeyFile
from shared_schemas.access import Scope
from tests.reliability.flawed_judge import FlawedJudge, Judgement
from tests.reliability.questions import grey_png

FILES: list[Any] = [
    (
        "meta",
        (
            "meta.json",
            '{"rubric": "t@none", "groups": [{"id": "g", "prompt": "x", "candidates": ["a", "b"]}],'
            ' "deadline_seconds": 1.0}',
        ),
    ),
    ("a", ("a.png", grey_png("grey-0"), "image/png")),
    ("b", ("b.png", grey_png("grey-55"), "image/png")),
]


def test_no_secret_is_logged_or_answered_whatever_goes_wrong(serve, start, tmp_path, ear, measured) -> None:
    judge_key, redis_password, url_password = ear.new_secret(), ear.new_secret(), ear.new_secret()
    judge = FlawedJudge()
    keys = KeyFile(tmp_path / "keys.json")
    token = keys.add("trainer", tenant="trainer", scopes=[Scope.ADMIN])[1]
    ear.secrets.append(token[-43:])
    told: list[str] = []

    async def quote_the_request(request: Request, _judgement: Judgement) -> Response:
        told.append(request.headers["Authorization"])
        message = f"not with {request.headers['Authorization']}"
        return JSONResponse({"error": {"message": message, "param": judge_key, "code": judge_key}}, status.pop())

    service = start(
        *("serve", "--port", "0", "--data-dir", str(tmp_path / "data")),
        ARR_LOG_LEVEL="DEBUG",
        ARR_API_KEYS=str(keys.path),
        ARR_JUDGE_URLS=f"{serve(judge.app)}/v1,http://judge:{url_password}@127.0.0.1:9/v1",
        ARR_JUDGE_API_KEY=judge_key,
        ARR_REDIS_URL=f"redis://:{redis_password}@127.0.0.1:9/0",
    )
    judge.flaw = quote_the_request
    seen: list[httpx.Response] = []
    for wrong in (401, 500):
        status = [wrong] * 100
        for header in (f"Bearer {token}", f"Bearer {token}x", f"Basic {token}", token):
            seen.append(
                httpx.post(f"{service.url}/reward", files=FILES, headers={"Authorization": header}, timeout=30.0)
            )
    for path in (
        "/readyz",
        "/metrics",
        "/judgements",
        "/openapi.json",
        f"/rubrics/{token}",
        f"/nothing?key={token[:-43]}",
    ):
        seen.append(httpx.get(f"{service.url}{path}", headers={"Authorization": f"Bearer {token}"}))
    everything = [service.log, *(f"{answer.text} {answer.headers}" for answer in seen)]
    measured["texts searched"], measured["of characters"] = len(everything), sum(map(len, everything))
    assert told[0] == f"Bearer {judge_key}"  # it was there to be told
    assert {answer.status_code for answer in seen} >= {200, 401, 404}
    assert [text[:200] for text in everything for secret in ear.secrets if secret in text] == []
