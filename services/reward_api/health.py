"""Probes and metrics: is the process alive, can it serve, what has it counted."""

import asyncio
from datetime import timedelta
from http import HTTPStatus

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from services.reward_api.access import GuardedRoute, open_to_all, requires
from services.reward_api.errors import RETRY_AFTER
from services.reward_api.openapi import problems
from services.reward_api.state import Services, ServicesDep
from shared_schemas.access import Scope
from shared_schemas.health import Health, Liveness, Readiness
from shared_schemas.reward import JudgeIdentity

OK = "ok"

PROBE_TIMEOUT = timedelta(seconds=5)
"""A part that has not answered by then is unavailable; below the usual 10 s of an orchestrator's probe."""

PROBE = [Depends(open_to_all)]

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.get("/livez", dependencies=PROBE, responses=problems(needs_key=False))
async def livez() -> Liveness:
    """Whether the process answers; checks nothing it depends on."""
    return Liveness()


@router.get(
    "/readyz",
    dependencies=PROBE,
    responses=problems(needs_key=False) | {503: {"model": Readiness, "description": "Not now; `parts` says why"}},
)
async def readyz(services: ServicesDep, response: Response) -> Readiness:
    """Whether requests can be served now, and who judges them."""
    database, (judge_state, judge) = await asyncio.gather(_check_database(services), _check_judge(services))
    others = await _check_others(services)
    if services.stopping.is_set():
        others["service"] = "is stopping"
    is_ready = database == judge_state == OK and not services.stopping.is_set()
    if not is_ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        response.headers["Retry-After"] = str(round(RETRY_AFTER.total_seconds()))
    when_ready = Health.OK if set(others.values()) <= {OK} else Health.DEGRADED
    return Readiness(
        status=when_ready if is_ready else Health.UNAVAILABLE,
        parts={"database": database, "judge": judge_state} | others,
        judge=judge,
        pixel_judge=services.settings.uses_pixel_judge,
    )


@router.get(
    "/metrics",
    dependencies=[Depends(requires(*Scope))],
    response_class=PlainTextResponse,
    responses=problems(),
)
async def metrics(services: ServicesDep) -> Response:
    """Counters and latencies in Prometheus' text format."""
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


async def _check_database(services: Services) -> str:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT.total_seconds()):
            await services.database.ping()
    except (SQLAlchemyError, TimeoutError) as error:
        return f"does not answer ({type(error).__name__})"
    return OK


async def _check_judge(services: Services) -> tuple[str, JudgeIdentity | None]:
    problem = await services.judge.check()
    return problem or OK, services.judge.identity


async def _check_others(services: Services) -> dict[str, str]:
    """What the service can do without: a problem here is `degraded`."""
    replicas = services.judge.replicas()
    parts = {f"judge {replica.name}": replica.problem or OK for replica in replicas} if len(replicas) > 1 else {}
    parts["audit"] = services.audit.problem or OK
    if services.chat.has_own_server:
        parts["chat"] = services.chat.problem() or OK
    if services.redis is not None:
        parts["redis"] = await services.redis.check()
    if services.canary is not None:
        parts["judge drift"] = services.canary.problem or OK
    return parts
