"""The composition root: settings in, a ready ASGI app out. What the service needs is built here and nowhere else."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from services.judging.backend import OpenAIBackend
from services.judging.judge import Judge, JudgeLimits
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.reward_api import health, reward, rubrics
from services.reward_api.errors import install_error_handlers
from services.reward_api.judge_access import JudgeAccess
from services.reward_api.metrics import Metrics
from services.reward_api.middleware import BodyLimit, RequestContext
from services.reward_api.openapi import DocumentedApi
from services.reward_api.settings import Settings
from services.reward_api.state import LifespanState, Services
from services.storage.database import Database
from services.storage.rubrics import RubricRepository
from services.storage.verdicts import DatabaseVerdictCache

_BYTES_PER_MIB = 1024 * 1024

_log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Build the service. Nothing is opened before the app starts (ASGI lifespan)."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[LifespanState]:
        async with _open_services(settings, metrics) as services:
            yield {"services": services}

    app = DocumentedApi(
        title="rubric-reward",
        summary="Rubric-conditioned rewards for image generators.",
        version=version("rubric-reward"),
        lifespan=lifespan,
        redoc_url=None,
    )
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_mb * _BYTES_PER_MIB)
    app.add_middleware(RequestContext, metrics=metrics)
    install_error_handlers(app)
    for part in (reward, rubrics, health):
        app.include_router(part.router)
    return app


@asynccontextmanager
async def _open_services(settings: Settings, metrics: Metrics) -> AsyncIterator[Services]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.resolved_database_url)
        stack.push_async_callback(database.close)
        judge = JudgeAccess(_build_judge(settings, database))
        await stack.enter_async_context(judge.open())
        yield Services(
            settings=settings, metrics=metrics, database=database, rubrics=RubricRepository(database), judge=judge
        )


def _build_judge(settings: Settings, database: Database) -> Judge:
    limits = JudgeLimits(
        max_concurrent_calls=settings.max_concurrent_judge_calls, min_label_mass=settings.min_label_mass
    )
    return Judge(_build_backend(settings), cache=DatabaseVerdictCache(database), limits=limits)


def _build_backend(settings: Settings) -> OpenAIBackend:
    if settings.uses_pixel_judge:
        _log.warning(
            "NO JUDGE IS CONFIGURED: the built-in pixel judge stands in. It measures a few properties of pixels and is "
            "no preference model. Set ARR_JUDGE_URLS to an OpenAI-compatible vision-language model."
        )
        return OpenAIBackend.in_process(create_pixel_judge_app(PixelJudgeSettings()))
    api_key = None if settings.judge_api_key is None else settings.judge_api_key.get_secret_value()
    return OpenAIBackend.over_url(settings.judge_urls[0], model=settings.judge_model, api_key=api_key)
