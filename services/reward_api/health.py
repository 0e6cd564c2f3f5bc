"""Probes and metrics: is the process alive, can it serve, what has it counted."""

import asyncio
from datetime import timedelta
from http import HTTPStatus

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from services.reward_api.errors import RETRY_AFTER
from services.reward_api.openapi import problems
from services.reward_api.state import Services, ServicesDep
from shared_schemas.health import Health, Liveness, Readiness
from shared_schemas.reward import JudgeIdentity

OK = "ok"

PROBE_TIMEOUT = timedelta(seconds=5)
"""A part that has not answered by then is unavailable; below the usual 10 s of an orchestrator's probe."""

router = APIRouter(tags=["health"])


@router.get("/livez", responses=problems())
async def livez() -> Liveness:
    """Whether the process answers; checks nothing it depends on."""
    return Liveness()


@router.get("/readyz", responses=problems() | {503: {"model": Readiness, "description": "Not now; `parts` says why"}})
async def readyz(services: ServicesDep, response: Response) -> Readiness:
    """Whether requests can be served now, and who judges them."""
    database, (judge_state, judge) = await asyncio.gather(_check_database(services), _check_judge(services))
    is_ready = database == judge_state == OK
    if not is_ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        response.headers["Retry-After"] = str(round(RETRY_AFTER.total_seconds()))
    return Readiness(
        status=Health.OK if is_ready else Health.UNAVAILABLE,
        parts={"database": database, "judge": judge_state},
        judge=judge,
        pixel_judge=services.settings.uses_pixel_judge,
    )


@router.get("/metrics", responses=problems())
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
