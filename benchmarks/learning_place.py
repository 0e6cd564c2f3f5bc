"""A place to learn rubric sets in: a database of its own, a judge over HTTP, and a worker, all but the judge in this
process, so that nothing but the way of asking differs.

Owns what each way does without. The one rule: every way asks the same questions; only when, and how often, differs.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from examples.learn_rubrics.labelled_folder import write_folder
from examples.learn_rubrics.shapes import shape_pairs
from services.judging.answers import Answer
from services.judging.backend import OpenAIBackend
from services.judging.cache import VerdictCache
from services.judging.chat import Chat
from services.judging.chat_cache import ChatAnswer, ChatCache
from services.judging.judge import Judge, JudgeLimits
from services.rubric_worker.desk import DeskLimits
from services.rubric_worker.learn_job import LearnJob
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.tools import Tools
from services.rubric_worker.worker import Worker, WorkerLimits
from services.storage.blobs import BlobStore
from services.storage.chat_answers import DatabaseChatCache
from services.storage.database import Database
from services.storage.dataset_checks import DatasetLimits, SoundDataset, check_dataset
from services.storage.datasets import DatasetRepository
from services.storage.job_claims import JobClaims
from services.storage.jobs import JobRepository
from services.storage.rubrics import RubricRepository
from services.storage.verdicts import DatabaseVerdictCache
from shared_schemas.jobs import Job
from shared_schemas.learning import LearnRequest

_TENANT = "benchmark"
_LOOK_SECONDS = 0.02


class Way(StrEnum):
    """How a set is learned."""

    SERIAL = "(a) one call at a time, nothing remembered"
    BUILT = "(b) as built"
    AGAIN = "(c) the same again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """One run."""

    way: Way
    job: Job
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Picture:
    """An image file on disk."""

    data: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def num_bytes(self) -> int:
        return len(self.data)

    def read(self) -> bytes:
        return self.data


class ForgetfulVerdicts:
    """A `VerdictCache` that holds nothing."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, Answer]:
        """Nothing."""
        return {}

    async def put(self, key: str, answer: Answer) -> Answer:
        """The answer, as if it were stored."""
        return answer


class ForgetfulWriting:
    """A `ChatCache` that holds nothing."""

    async def get(self, key: str) -> ChatAnswer | None:
        """Nothing."""
        return None

    async def put(self, key: str, answer: ChatAnswer) -> ChatAnswer:
        """The answer, as if it were stored."""
        return answer


class Place:
    """Where sets are learned one way; the same again is learned in the same place."""

    def __init__(self, database: Database, folder: Path, judge: Judge, chat: Chat, *, limits: DeskLimits) -> None:
        self._datasets = DatasetRepository(database, BlobStore(str(folder / "blobs")))
        self._jobs = JobRepository(database)
        tools = Tools(
            judge_of=lambda: judge,
            chat_of=lambda: chat,
            datasets=self._datasets,
            rubrics=RubricRepository(database),
            pictures=Pictures(self._datasets),
            tie_margin=0.05,
        )
        kinds = {"learn": LearnJob(tools, limits=limits)}
        self._worker = Worker(JobClaims(database), kinds, name="benchmark", limits=WorkerLimits())

    async def store(self, folder: Path) -> int:
        """The example's drawings as a dataset, written to `folder` on the way; returns its id."""
        dataset, _ = await self._datasets.add(await asyncio.to_thread(_drawings, folder), tenant=_TENANT)
        return dataset.id

    async def learn(self, way: Way, request: LearnRequest) -> Learned:
        """Learn a set, from asking for it to its end."""
        begun = time.perf_counter()
        parameters = {"name": "benchmark", **request.model_dump(mode="json", exclude={"seed"})}
        job, _ = await self._jobs.create("learn", tenant=_TENANT, parameters=parameters, seed=request.seed)
        working = asyncio.create_task(self._worker.run())
        try:
            while not job.state.is_final:
                await asyncio.sleep(_LOOK_SECONDS)
                job = await self._jobs.get(job.id, tenant=_TENANT) or job
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        return Learned(way=way, job=job, seconds=time.perf_counter() - begun)


@asynccontextmanager
async def open_place(folder: Path, judge_url: str, *, way: Way) -> AsyncIterator[Place]:
    """A new place in `folder` that works in this way, with the judge at `judge_url`."""
    is_serial = way is Way.SERIAL
    await asyncio.to_thread(folder.mkdir, parents=True)
    async with AsyncExitStack() as stack:
        database = await Database.open(f"sqlite+aiosqlite:///{folder / 'learning.db'}")
        stack.push_async_callback(database.close)
        verdicts: VerdictCache = ForgetfulVerdicts() if is_serial else DatabaseVerdictCache(database)
        writing: ChatCache = ForgetfulWriting() if is_serial else DatabaseChatCache(database)
        limits = JudgeLimits(max_window=1) if is_serial else JudgeLimits()
        judge = Judge([OpenAIBackend.over_url(judge_url)], cache=verdicts, limits=limits)
        stack.push_async_callback(judge.aclose)
        await judge.start()
        chat = Chat(judge.replica_set, cache=writing)
        desk = DeskLimits(at_once=1) if is_serial else DeskLimits()
        yield Place(database, folder, judge, chat, limits=desk)


def _drawings(folder: Path) -> SoundDataset:
    pairs = write_folder(shape_pairs(seed=0), folder, seed=0).read_bytes()
    files = {path.name: _Picture(data=path.read_bytes()) for path in folder.glob("*.png")}
    return check_dataset(pairs, files, limits=DatasetLimits())
