import logging

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from services.reward_api.metrics import Metrics
from services.reward_api.middleware import RequestContext
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem


async def test_a_request_id_is_echoed(service) -> None:
    answer = await service.get("/livez", headers={"X-Request-Id": "run-42/step.7"})
    assert answer.headers["X-Request-Id"] == "run-42/step.7"


@pytest.mark.parametrize("given", ["two words", "x" * 129, 'a"b', ""])
async def test_an_unfit_request_id_is_replaced(service, given) -> None:
    answer = await service.get("/livez", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 32


async def test_every_request_gets_an_id_of_its_own(service) -> None:
    ids = {(await service.get("/livez")).headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3


async def test_a_bug_is_logged_with_its_traceback_and_not_shown(caplog) -> None:
    async def buggy(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("hunter2 is the password")

    transport = httpx.ASGITransport(RequestContext(buggy, metrics=Metrics()))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.get("/", headers={"X-Request-Id": "r1"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert (problem.slug, problem.request_id) == ("internal-error", "r1")
    assert "hunter2" not in answer.text
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "hunter2 is the password"


async def test_requests_are_counted_by_route_template(service) -> None:
    for name in ("t2i", "other", "third"):
        await service.get(f"/rubrics/{name}")
    await service.get("/no/such/place")
    text = (await service.get("/metrics")).text
    assert 'arr_http_requests_total{method="GET",route="/rubrics/{name}",status="200"} 1.0' in text
    assert 'arr_http_requests_total{method="GET",route="/rubrics/{name}",status="404"} 2.0' in text
    assert 'arr_http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'arr_http_request_seconds_count{method="GET",route="/rubrics/{name}"} 3.0' in text
