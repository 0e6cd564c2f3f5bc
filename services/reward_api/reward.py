"""`POST /reward`: read, admit, judge, answer."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.judging.callers import Caller
from services.judging.judge import Judge
from services.reward_api import tensors
from services.reward_api.access import GuardedRoute, Principal, requires
from services.reward_api.admission import (
    ResolvedRubric,
    check_image_ids,
    read_meta,
    resolve_rubric,
)
from services.reward_api.audit import AuditLog, JudgementContext
from services.reward_api.disconnect import unless_disconnected
from services.reward_api.errors import (
    BodyTooLarge,
    InvalidImage,
    Overloaded,
    PromptTooLong,
    TaskMismatch,
    UnknownImage,
    UnknownRubric,
    UnsupportedMediaType,
    UnusedImage,
)
from services.reward_api.inquiry import Inquiry, JudgedGroup, num_calls
from services.reward_api.load import Ticket, TooBusy, admit, preferred_wait
from services.reward_api.openapi import problems, reward_answers, reward_body
from services.reward_api.request_body import JSON, RewardBody, read_body
from services.reward_api.results import group_result, usage
from services.reward_api.state import Services, ServicesDep
from services.reward_api.terms import Terms, agree_on_terms, calibrate
from services.telemetry import current_request_id
from shared_schemas.access import Scope
from shared_schemas.reward import MAX_PAIRWISE_CANDIDATES, JudgeIdentity, RewardRequest, RewardResponse, Timing
from shared_schemas.rubrics import Mode

MAX_IMAGES = 1024 * (MAX_PAIRWISE_CANDIDATES + 1)
"""All candidates and a source for each of the most groups that a pairwise request may have."""

_REFUSALS = (
    *(InvalidImage, UnknownImage, UnusedImage, PromptTooLong, TaskMismatch),
    *(UnknownRubric, BodyTooLarge, UnsupportedMediaType, Overloaded),
)

SHARED_SCOPE = "*"
"""Where tenants that share verdicts remember them; no tenant can be named like this."""

_UNREAD = "(unread)"
"""In place of a run's id, while that is not known; no run can be named like this."""

router = APIRouter(tags=["reward"], route_class=GuardedRoute)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """A request that can be judged."""

    meta: RewardRequest
    rubric: ResolvedRubric
    terms: Terms
    caller: Caller
    deadline: timedelta

    @property
    def num_calls(self) -> int:
        """Judge calls that it takes when nothing of it is remembered."""
        return sum(num_calls(group, self.meta, self.rubric.content, self.terms.mode) for group in self.meta.groups)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """What came of the slow part of a request."""

    groups: Sequence[JudgedGroup]
    judge: JudgeIdentity
    """Who was asked; another one may stand behind the same URL by now."""
    terms: Terms
    """Those of the order, as they are calibrated for this judge."""
    decode_seconds: float
    judge_seconds: float


@router.post(
    "/reward",
    response_model=RewardResponse,
    openapi_extra=reward_body(),
    responses=problems(*_REFUSALS) | reward_answers(),
)
async def reward(
    request: Request, services: ServicesDep, principal: Annotated[Principal, Depends(requires(Scope.REWARD))]
) -> Response:
    """Judge the candidates of every group: rewards where there is a winner, ties and failures named as such.

    A multipart body: the part `meta` (JSON), and one PNG part per image under the name that `meta` uses for it. Or a
    JSON body: the fields of `meta`, and `images` in base64.
    """
    start = time.perf_counter()
    judge = services.judge.get()
    unread = Caller(tenant=principal.tenant, run=_UNREAD)
    _admit_unread(request, services, unread, judge=judge)
    with services.on_the_way.enter(unread) as ticket:
        body = await read_body(request, max_images=MAX_IMAGES)
        order = await _read_order(body, services, principal)
        _admit_read(order, services, ticket, judge=judge, start=start)
        judging = _judge(order, body, services, judge=judge, ticket=ticket, start=start)
        judged = await unless_disconnected(request, judging)
    response = await _response(order, judged, start=start)
    await _take_down(order, judged, audit=services.audit)
    services.metrics.observe_rewards(response)
    if tensors.are_wanted(request.headers.get("Accept", "")):
        return Response(tensors.encode(response, order.meta.groups), media_type=tensors.SAFETENSORS)
    return Response(response.model_dump_json(), media_type=JSON)


def _admit_unread(request: Request, services: Services, unread: Caller, *, judge: Judge) -> None:
    """Refuse on the headers alone: whoever sends an image at all needs two calls of a run that nobody knows yet."""
    default = timedelta(seconds=services.settings.deadline_seconds)
    deadline = preferred_wait(request.headers.get("Prefer")) or default
    _admit(unread, services, judge=judge, num_calls=2, deadline=deadline, elapsed=timedelta())


def _admit_read(order: _Order, services: Services, ticket: Ticket, *, judge: Judge, start: float) -> None:
    """Refuse by what the request says, and by how long it took to come."""
    ticket.is_queued()  # in its own way it stands no longer
    elapsed = timedelta(seconds=time.perf_counter() - start)
    calls = order.num_calls
    _admit(order.caller, services, judge=judge, num_calls=calls, deadline=order.deadline, elapsed=elapsed)
    services.on_the_way.learn(calls)
    ticket.stands_for(calls, order.caller)


def _admit(
    caller: Caller, services: Services, *, judge: Judge, num_calls: int, deadline: timedelta, elapsed: timedelta
) -> None:
    try:
        admit(
            judge,
            caller,
            num_calls=num_calls,
            on_the_way=services.on_the_way.ahead_of(caller, num_calls),
            deadline=deadline,
            elapsed=elapsed,
            max_queued_calls=services.settings.max_queued_calls,
        )
    except TooBusy as refusal:
        services.metrics.observe_refusal(refusal.reason)
        raise


async def _take_down(order: _Order, judged: _Judged, *, audit: AuditLog) -> None:
    for group in judged.groups:
        context = JudgementContext(
            tenant=order.caller.tenant,
            run=order.meta.run,
            request_id=current_request_id(),
            group=group.group.id,
            rubric=order.rubric.identity,
            judge=judged.judge,
        )
        for asked in group.asked:
            audit.record(asked.question, asked.outcome, context)
        await asyncio.sleep(0)  # other requests go in between, here too


async def _read_order(body: RewardBody, services: Services, principal: Principal) -> _Order:
    """Everything that can be wrong with a request but its pixels is found here."""
    settings = services.settings
    meta = read_meta(body.meta, max_prompt_chars=settings.max_prompt_chars)
    check_image_ids(meta.groups, body.images)
    rubric = await resolve_rubric(meta, services.rubrics)
    return _Order(
        meta=meta,
        rubric=rubric,
        terms=agree_on_terms(meta, rubric.content, default_tie_margin=settings.tie_margin),
        caller=Caller(
            tenant=principal.tenant,
            run="" if meta.run is None else meta.run.id,
            cache_scope=SHARED_SCOPE if settings.share_verdicts else principal.tenant,
        ),
        deadline=timedelta(seconds=meta.deadline_seconds or settings.deadline_seconds),
    )


async def _judge(
    order: _Order, body: RewardBody, services: Services, *, judge: Judge, ticket: Ticket, start: float
) -> _Judged:
    """Read the images, then ask; all within the deadline counted from `start`."""
    decode_start = time.perf_counter()
    guide = await services.guides.of(order.rubric) if order.terms.mode is Mode.PAIRWISE else ()
    images = await services.images.read_all(body.images)
    ticket.is_queued()
    judge_start, identity, rubric = time.perf_counter(), judge.identity, order.rubric
    calibration = rubric.calibration.get(identity.fingerprint)
    terms = calibrate(order.terms, calibration, meta=order.meta, rubric=rubric.content)
    inquiry = Inquiry(
        judge=judge,
        meta=order.meta,
        images=images,
        rubric=rubric.content,
        guide=guide,
        terms=terms,
        caller=order.caller,
        time_left=lambda: max(timedelta(), order.deadline - timedelta(seconds=time.perf_counter() - start)),
    )
    return _Judged(
        groups=await inquiry.ask(),
        judge=identity,
        terms=terms,
        decode_seconds=judge_start - decode_start,
        judge_seconds=time.perf_counter() - judge_start,
    )


async def _response(order: _Order, judged: _Judged, *, start: float) -> RewardResponse:
    """What the client gets."""
    rubric, per_criterion, results = order.rubric, order.meta.per_criterion, []
    for group in judged.groups:
        results.append(group_result(group, terms=judged.terms, rubric=rubric.content, per_criterion=per_criterion))
        await asyncio.sleep(0)  # a thousand groups of eight take half a second: other requests go in between
    return RewardResponse(
        rubric=rubric.identity,
        judge=judged.judge,
        calibrated=judged.terms.is_calibrated,
        results=tuple(results),
        usage=usage(judged.groups),
        timing=_timing(judged, total_seconds=time.perf_counter() - start),
    )


def _timing(judged: _Judged, *, total_seconds: float) -> Timing:
    costs = [asked.outcome.cost for group in judged.groups for asked in group.asked]
    queue_seconds = max((cost.queue_seconds for cost in costs), default=0.0)
    return Timing(
        total_ms=1000 * total_seconds,
        judge_ms=1000 * (judged.judge_seconds - queue_seconds),
        queue_ms=1000 * queue_seconds,
        decode_ms=1000 * judged.decode_seconds,
        overhead_ms=1000 * (total_seconds - judged.judge_seconds - judged.decode_seconds),
    )
