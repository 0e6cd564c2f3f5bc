"""The composition root: settings in, open services out. What the endpoints need is built here and nowhere else."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from services.judging.answering import AskLimits
from services.judging.backend import OpenAIBackend
from services.judging.cache import VerdictCache
from services.judging.canary import Canary
from services.judging.chat import Chat
from services.judging.chat_backend import ChatBackend
from services.judging.judge import Judge, JudgeLimits
from services.judging.observer import NullObserver
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.scheduling.replica_set import ReplicaSet
from services.reward_api.access import Access
from services.reward_api.audit import AuditLog
from services.reward_api.chat_access import ChatAccess
from services.reward_api.dataset_intake import DatasetIntake
from services.reward_api.guides import Guides
from services.reward_api.image_reader import ImageReader
from services.reward_api.judge_access import JudgeAccess
from services.reward_api.load import OnTheWay
from services.reward_api.metrics import Metrics
from services.reward_api.settings import Settings
from services.reward_api.state import Services
from services.storage.blobs import BlobStore
from services.storage.chat_answers import DatabaseChatCache
from services.storage.database import Database
from services.storage.dataset_checks import DatasetLimits
from services.storage.datasets import DatasetRepository
from services.storage.jobs import JobRepository
from services.storage.judgements import JudgementRepository
from services.storage.redis_verdicts import RedisVerdictCache
from services.storage.rubrics import RubricRepository
from services.storage.verdicts import DatabaseVerdictCache

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics, access: Access, *, stopping: asyncio.Event | None = None
) -> AsyncIterator[Services]:
    """Everything the endpoints share, for as long as the app runs; closed in the opposite order."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.resolved_database_url)
        stack.push_async_callback(database.close)
        redis = None if settings.redis_url is None else RedisVerdictCache(settings.redis_url.get_secret_value())
        cache = redis or DatabaseVerdictCache(database)
        stack.push_async_callback(cache.aclose)
        blobs = BlobStore(settings.resolved_blob_url)
        judgements = JudgementRepository(database)
        audit = _build_audit(settings, judgements, blobs)
        await stack.enter_async_context(audit.open())
        datasets = DatasetRepository(database, blobs)
        judge = _build_judge(settings, cache, metrics)
        access_to_judge = JudgeAccess(judge)
        await stack.enter_async_context(access_to_judge.open())
        chat = _build_chat(settings, judge, database, metrics)
        await stack.enter_async_context(chat.open())
        canary = await stack.enter_async_context(_watching(judge, settings, metrics))
        metrics.watch(judge=access_to_judge, audit=audit, redis=redis)
        yield Services(
            settings=settings,
            metrics=metrics,
            access=access,
            database=database,
            redis=redis,
            rubrics=RubricRepository(database),
            judgements=judgements,
            jobs=JobRepository(database),
            datasets=datasets,
            intake=_build_intake(settings, datasets),
            blobs=blobs,
            audit=audit,
            images=_build_image_reader(settings),
            guides=Guides(datasets, judge_max_pixels=settings.judge_max_pixels),
            on_the_way=OnTheWay(),
            judge=access_to_judge,
            chat=chat,
            canary=canary,
            stopping=stopping or asyncio.Event(),
        )


def _build_audit(settings: Settings, judgements: JudgementRepository, blobs: BlobStore) -> AuditLog:
    keep_for = timedelta(days=settings.audit_days) if settings.audit_days else None
    return AuditLog(judgements, blobs, images=settings.audit_images, keep_for=keep_for)


def _build_image_reader(settings: Settings) -> ImageReader:
    return ImageReader(
        max_pixels=settings.max_image_pixels,
        max_side=settings.max_image_side,
        judge_max_pixels=settings.judge_max_pixels,
    )


def _build_intake(settings: Settings, datasets: DatasetRepository) -> DatasetIntake:
    limits = DatasetLimits(
        max_prompt_chars=settings.max_prompt_chars,
        max_image_pixels=settings.max_image_pixels,
        max_image_side=settings.max_image_side,
    )
    folder = settings.data_dir / "uploads"
    return DatasetIntake(datasets, folder=folder, max_bytes=settings.max_dataset_bytes, limits=limits)


def _build_judge(settings: Settings, cache: VerdictCache, metrics: Metrics) -> Judge:
    limits = JudgeLimits(
        max_window=settings.max_judge_window,
        ask=AskLimits(min_label_mass=settings.min_label_mass),
        position_bias_bound=settings.position_bias_bound,
    )
    return Judge(build_backends(settings), cache=cache, limits=limits, observer=metrics.judge)


def _build_chat(settings: Settings, judge: Judge, database: Database, metrics: Metrics) -> ChatAccess:
    """The model that writes: a server of its own where one is configured, else the judge."""
    cache = DatabaseChatCache(database)
    if settings.chat_url is None:
        return ChatAccess(Chat(judge.replica_set, cache=cache, observer=metrics.judge), own_server=None)
    api_key = None if settings.chat_api_key is None else settings.chat_api_key.get_secret_value()
    usual = JudgeLimits()
    own_server = ReplicaSet(
        [ChatBackend.over_url(settings.chat_url, model=settings.chat_model, api_key=api_key)],
        max_window=settings.max_judge_window,
        probe_within=usual.ask.call_timeout,
        patience=usual.patience,
        observer=NullObserver(),  # the metrics are the judge's
        writing_share=1.0,
    )
    return ChatAccess(Chat(own_server, cache=cache, is_the_judge=False), own_server=own_server)


def build_backends(settings: Settings) -> list[OpenAIBackend]:
    """One per replica; the built-in pixel judge, said loudly, when no judge is configured."""
    if settings.uses_pixel_judge:
        _log.warning(
            "NO JUDGE IS CONFIGURED: the built-in pixel judge stands in. It measures a few properties of pixels and is "
            "no preference model. Set ARR_JUDGE_URLS to an OpenAI-compatible vision-language model."
        )
        return [OpenAIBackend.in_process(create_pixel_judge_app(PixelJudgeSettings()))]
    api_key = None if settings.judge_api_key is None else settings.judge_api_key.get_secret_value()
    return [OpenAIBackend.over_url(url, model=settings.judge_model, api_key=api_key) for url in settings.judge_urls]


@asynccontextmanager
async def _watching(judge: Judge, settings: Settings, metrics: Metrics) -> AsyncIterator[Canary | None]:
    """The canary, if one is wished, for as long as the block lasts."""
    if not settings.canary_seconds:
        yield None
        return
    every = timedelta(seconds=settings.canary_seconds)
    canary = Canary(judge, every=every, on_drift=metrics.judge.drift.set)
    watching = asyncio.create_task(canary.run())
    try:
        yield canary
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
