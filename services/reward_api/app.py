"""The ASGI app: routes, middleware and error handlers around the services that `composition` opens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from services.reward_api import health, judgements, reward, rubrics
from services.reward_api.access import Access
from services.reward_api.composition import open_services
from services.reward_api.errors import install_error_handlers
from services.reward_api.loopback import LoopbackHosts
from services.reward_api.metrics import Metrics
from services.reward_api.middleware import BodyLimit, RequestContext
from services.reward_api.openapi import DocumentedApi
from services.reward_api.settings import Settings
from services.reward_api.state import LifespanState

_BYTES_PER_MIB = 1024 * 1024


def create_app(settings: Settings) -> FastAPI:
    """Build the service. Nothing but the key file is read before the app starts (ASGI lifespan).

    Raises `KeyFileError` when the settings name a key file that cannot be used.
    """
    metrics = Metrics()
    access = Access.from_file(settings.api_keys)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[LifespanState]:
        async with open_services(settings, metrics, access) as services:
            yield {"services": services}

    app = DocumentedApi(
        title="rubric-reward",
        summary="Rubric-conditioned rewards for image generators.",
        version=version("rubric-reward"),
        lifespan=lifespan,
        redoc_url=None,
    )
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_mb * _BYTES_PER_MIB)
    if settings.api_keys is None:
        app.add_middleware(LoopbackHosts)
    app.add_middleware(RequestContext, metrics=metrics)
    install_error_handlers(app)
    for part in (reward, rubrics, judgements, health):
        app.include_router(part.router)
    return app
