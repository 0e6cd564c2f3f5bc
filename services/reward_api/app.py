"""The ASGI app: routes, middleware and error handlers around the services that `composition` opens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from importlib.metadata import version

from fastapi import FastAPI

from services.reward_api import datasets, health, jobs, judgements, learning, reward, rubrics
from services.reward_api.access import Access
from services.reward_api.composition import open_services
from services.reward_api.errors import install_error_handlers
from services.reward_api.loopback import LoopbackHosts
from services.reward_api.metrics import Metrics
from services.reward_api.middleware import BodyLimit, RequestContext
from services.reward_api.openapi import DocumentedApi
from services.reward_api.settings import Settings
from services.reward_api.state import LifespanState, Services

Companion = Callable[[Services], AbstractAsyncContextManager[object]]
"""What runs in the app's process beside it, from its start to its stop, on the same services: a worker."""


def create_app(
    settings: Settings, *, companion: Companion | None = None, stopping: asyncio.Event | None = None
) -> FastAPI:
    """Build the service. Nothing but the key file is read before the app starts (ASGI lifespan).

    Set `stopping` when the process is told to stop, and streams end at once instead of holding it up.
    Raises `KeyFileError` when the settings name a key file that cannot be used.
    """
    metrics = Metrics()
    access = Access.from_file(settings.api_keys)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[LifespanState]:
        async with (
            open_services(settings, metrics, access, stopping=stopping) as services,
            nullcontext() if companion is None else companion(services),
        ):
            yield {"services": services}

    app = DocumentedApi(
        title="rubric-reward",
        summary="Rubric-conditioned rewards for image generators.",
        version=version("rubric-reward"),
        lifespan=lifespan,
        redoc_url=None,
    )
    own_limits = {"/datasets": settings.max_dataset_bytes}
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_body_bytes,
        max_bytes_below=own_limits,
        patience=timedelta(seconds=settings.body_seconds),
    )
    if settings.api_keys is None:
        app.add_middleware(LoopbackHosts)
    app.add_middleware(RequestContext, metrics=metrics)
    install_error_handlers(app)
    for part in (reward, rubrics, datasets, learning, judgements, jobs, health):
        app.include_router(part.router)
    return app
