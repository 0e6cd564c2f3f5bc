"""`POST /reward`: read, admit, judge, answer."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter, Request

from services.judging.judge import Judge, JudgeFailure, PairAnswer, PairQuestion
from services.reward_api.admission import (
    ResolvedRubric,
    check_image_ids,
    decode_images,
    read_meta,
    resolve_rubric,
)
from services.reward_api.disconnect import unless_disconnected
from services.reward_api.errors import (
    BodyTooLarge,
    InvalidImage,
    PromptTooLong,
    TaskMismatch,
    UnknownImage,
    UnknownRubric,
    UnsupportedMediaType,
    UnusedImage,
)
from services.reward_api.multipart import read_parts
from services.reward_api.openapi import problems, reward_body
from services.reward_api.results import group_result, usage
from services.reward_api.settings import Settings
from services.reward_api.state import ServicesDep
from shared_schemas.reward import CachePolicy, RewardRequest, RewardResponse, Timing

MAX_PARTS = 1 + 3 * 1024
"""`meta`, and two candidates and a source for each of the most groups that a request may have."""

_REFUSALS = (
    *(InvalidImage, UnknownImage, UnusedImage, PromptTooLong, TaskMismatch),
    *(UnknownRubric, BodyTooLarge, UnsupportedMediaType),
)

router = APIRouter(tags=["reward"])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """What came of the slow part of a request."""

    outcomes: list[PairAnswer | JudgeFailure]
    decode_seconds: float
    judge_seconds: float


@router.post("/reward", openapi_extra=reward_body(), responses=problems(*_REFUSALS))
async def reward(request: Request, services: ServicesDep) -> RewardResponse:
    """Judge the candidates of every group: rewards where there is a winner, ties and failures named as such.

    A multipart body: the part `meta` (JSON), and one PNG part per image under the name that `meta` uses for it.
    """
    start = time.perf_counter()
    settings = services.settings
    parts = await read_parts(request, max_parts=MAX_PARTS)
    meta = read_meta(parts, max_prompt_chars=settings.max_prompt_chars)
    check_image_ids(meta.groups, parts)
    rubric = await resolve_rubric(meta, services.rubrics)
    judge = services.judge.get()
    work = _judge(meta, parts, rubric=rubric, judge=judge, settings=settings, start=start)
    judged = await unless_disconnected(request, work)
    response = _response(meta, judged, rubric=rubric, judge=judge, settings=settings, start=start)
    services.metrics.observe_rewards(response)
    return response


async def _judge(
    meta: RewardRequest,
    parts: Mapping[str, bytes],
    *,
    rubric: ResolvedRubric,
    judge: Judge,
    settings: Settings,
    start: float,
) -> _Judged:
    """Decode the images off the event loop, then ask; all within the deadline counted from `start`."""
    decode_start = time.perf_counter()
    images = await asyncio.to_thread(
        decode_images, parts, max_pixels=settings.max_image_pixels, max_side=settings.max_image_side
    )
    judge_start = time.perf_counter()
    questions = [
        PairQuestion(
            prompt=group.prompt,
            first=images[group.candidates[0]],
            second=images[group.candidates[1]],
            source=None if group.source is None else images[group.source],
            rubric=rubric.content,
        )
        for group in meta.groups
    ]
    left = timedelta(seconds=(meta.deadline_seconds or settings.deadline_seconds) - (judge_start - start))
    outcomes = await judge.compare(questions, use_cache=meta.cache is CachePolicy.USE, deadline=max(left, timedelta()))
    return _Judged(
        outcomes=outcomes,
        decode_seconds=judge_start - decode_start,
        judge_seconds=time.perf_counter() - judge_start,
    )


def _response(
    meta: RewardRequest, judged: _Judged, *, rubric: ResolvedRubric, judge: Judge, settings: Settings, start: float
) -> RewardResponse:
    tie_margin = settings.tie_margin if meta.tie_margin is None else meta.tie_margin
    return RewardResponse(
        rubric=rubric.identity,
        judge=judge.identity,
        results=tuple(
            group_result(group, outcome, scheme=meta.reward, tie_margin=tie_margin)
            for group, outcome in zip(meta.groups, judged.outcomes, strict=True)
        ),
        usage=usage(judged.outcomes),
        timing=_timing(judged, total_seconds=time.perf_counter() - start),
    )


def _timing(judged: _Judged, *, total_seconds: float) -> Timing:
    overhead_seconds = total_seconds - judged.judge_seconds - judged.decode_seconds
    answers = [outcome for outcome in judged.outcomes if isinstance(outcome, PairAnswer)]
    queue_seconds = max((answer.queue_seconds for answer in answers), default=0.0)
    return Timing(
        total_ms=1000 * total_seconds,
        judge_ms=1000 * (judged.judge_seconds - queue_seconds),
        queue_ms=1000 * queue_seconds,
        decode_ms=1000 * judged.decode_seconds,
        overhead_ms=1000 * overhead_seconds,
    )
