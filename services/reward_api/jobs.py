"""`/jobs`: long work, watched and stopped. Starting it is the business of the calls that know what it is about.

The one rule: without an admin's key one sees one's own tenant's jobs, and cannot tell whether there are others.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from services.reward_api.access import GuardedRoute, Principal, requires
from services.reward_api.errors import ApiError, UnknownJob
from services.reward_api.openapi import problems
from services.reward_api.state import Services, ServicesDep
from services.storage.tables import MAX_ID
from shared_schemas.access import Scope
from shared_schemas.base import Name
from shared_schemas.jobs import Job, JobPage, JobState

LOOK_EVERY = timedelta(milliseconds=500)
"""Between two looks at a job whose events somebody listens to."""

EVENT = "job"
"""Name of the one kind of event."""

router = APIRouter(tags=["jobs"], route_class=GuardedRoute)

_MAY_LOOK = requires(Scope.RUBRICS)

Operator = Annotated[Principal, Depends(_MAY_LOOK)]
JobId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get("/jobs", responses=problems())
async def list_jobs(
    services: ServicesDep,
    principal: Operator,
    state: Annotated[JobState | None, Query(description="Only those in this state.")] = None,
    kind: Annotated[Name | None, Query(description="Only those of this kind.")] = None,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Items per page.")] = 50,
) -> JobPage:
    """All jobs, newest first."""
    tenant = principal.visible_tenant
    return await services.jobs.page(tenant=tenant, state=state, kind=kind, before=before, limit=limit)


@router.get("/jobs/{id}", responses=problems(UnknownJob))
async def get_job(id: JobId, services: ServicesDep, principal: Operator) -> Job:
    """How far a job is, and what came of it."""
    return _known(await services.jobs.get(id, tenant=principal.visible_tenant), id)


@router.get("/jobs/{id}/events", response_class=EventSourceResponse, responses=problems(UnknownJob))
async def follow_job(
    request: Request,
    job: Annotated[Job, Depends(get_job)],
    services: ServicesDep,
    _principal: Operator,
    last_event_id: Annotated[int, Header(ge=0, le=MAX_ID, description="Only changes after this event.")] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """The job now and after every change, as server-sent events; the stream ends with the final state."""
    seen = last_event_id
    while True:
        if job.revision > seen:
            seen = job.revision
            yield ServerSentEvent(event=EVENT, id=str(job.revision), data=job)
        if job.state.is_final or await _is_over(request, services):
            return
        job = _known(await services.jobs.get(job.id, tenant=job.tenant), job.id)


@router.post("/jobs/{id}/cancel", responses=problems(UnknownJob))
async def cancel_job(id: JobId, services: ServicesDep, principal: Operator) -> Job:
    """Stop a job: at once when it waits, within seconds when it runs. A final job stays as it is."""
    return _known(await services.jobs.cancel(id, tenant=principal.visible_tenant), id)


async def _is_over(request: Request, services: Services) -> bool:
    """Wait until it is time to look again; true = the process is stopping, or the key was revoked meanwhile."""
    with suppress(TimeoutError):
        await asyncio.wait_for(services.stopping.wait(), LOOK_EVERY.total_seconds())
    try:
        await _MAY_LOOK(request)
    except ApiError:
        return True
    return services.stopping.is_set()


def _known(job: Job | None, id: int) -> Job:
    if job is None:
        raise UnknownJob(f"there is no job {id}")
    return job
