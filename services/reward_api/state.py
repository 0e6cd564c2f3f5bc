"""What the endpoints of one app share: built once when it starts, typed, handed in as a dependency."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, TypedDict

from fastapi import Depends, Request

from services.judging.canary import Canary
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
from services.storage.blobs import BlobStore
from services.storage.database import Database
from services.storage.datasets import DatasetRepository
from services.storage.jobs import JobRepository
from services.storage.judgements import JudgementRepository
from services.storage.redis_verdicts import RedisVerdictCache
from services.storage.rubrics import RubricRepository


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything an endpoint may use."""

    settings: Settings
    metrics: Metrics
    access: Access
    database: Database
    redis: RedisVerdictCache | None
    """None = verdicts are remembered in the database."""
    rubrics: RubricRepository
    judgements: JudgementRepository
    jobs: JobRepository
    datasets: DatasetRepository
    intake: DatasetIntake
    blobs: BlobStore
    audit: AuditLog
    images: ImageReader
    guides: Guides
    on_the_way: OnTheWay
    judge: JudgeAccess
    chat: ChatAccess
    """The model that writes criteria: the judge, or a server of its own."""
    canary: Canary | None
    """None = nobody watches for drift."""
    stopping: asyncio.Event
    """Set when the process is about to stop: an answer that would last for long ends now."""


class LifespanState(TypedDict):
    """What the lifespan hands to every request."""

    services: Services


async def _services(request: Request) -> Services:
    services: Services = request.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]
"""Parameter type by which an endpoint gets the app's services."""
