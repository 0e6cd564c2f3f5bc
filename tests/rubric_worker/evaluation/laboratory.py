"""A laboratory: labelled drawings in a real database and blob store, pixel judges, and a worker that evaluates."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from services.judging.answering import AskLimits
from services.judging.backend import OpenAIBackend
from services.judging.judge import Judge, JudgeLimits
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.rubric_worker.desk import DeskLimits
from services.rubric_worker.evaluation.evaluate_job import EvaluateJob
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.tools import Tools
from services.storage.blobs import BlobStore
from services.storage.database import Database
from services.storage.dataset_checks import DatasetLimits, check_dataset
from services.storage.datasets import DatasetRepository
from services.storage.jobs import JobRepository
from services.storage.rubrics import RubricRepository
from services.storage.verdicts import DatabaseVerdictCache
from shared_schemas.datasets import Dataset
from shared_schemas.evaluations import EvaluationReport, EvaluationRequest
from shared_schemas.jobs import Job, JobState
from shared_schemas.rubrics import Criterion, Mode, RubricContent, RubricVersion, Task

COLOURS = {"red": (220, 40, 40), "blue": (40, 90, 220), "green": (40, 160, 60), "yellow": (240, 210, 40)}
SHAPES = ("circle", "square")
TENANT = "a"
SOON = DeskLimits(deadline=timedelta(seconds=20), patience=timedelta(milliseconds=300), pause=timedelta(milliseconds=5))


@dataclass(frozen=True)
class Drawing:
    """An image file."""

    data: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def num_bytes(self) -> int:
        return len(self.data)

    def read(self) -> bytes:
        return self.data


def draw(shape: str, colour: str, *, side: int = 48) -> Drawing:
    """One shape in the middle of light paper."""
    canvas = Image.new("RGB", (side, side), (240, 240, 240))
    box = (side // 4, side // 4, 3 * side // 4, 3 * side // 4)
    pen = ImageDraw.Draw(canvas)
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=COLOURS[colour])
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG")
    return Drawing(buffer.getvalue())


def rows_of_colours() -> list[dict[str, Any]]:
    """24 pairs for 8 prompts: the right shape in the right colour and in another one, listed first in turn."""
    rows = [
        {"prompt": f"a {colour} {shape}", "images": [f"{colour} {shape}", f"{other} {shape}"], "rank": [1, 2]}
        for colour in COLOURS
        for shape in SHAPES
        for other in COLOURS
        if other != colour
    ]
    return [turned(row) if number % 2 else row for number, row in enumerate(rows)]


def turned(row: dict[str, Any]) -> dict[str, Any]:
    """The same with its images and its label the other way round."""
    return row | {"images": row["images"][::-1], "rank": row["rank"][::-1]}


def criterion(name: str, theme: str, weight: float = 1.0) -> Criterion:
    return Criterion(id=name, theme=theme, weight=weight)


COLOUR = RubricContent(task=Task.T2I, criteria=(criterion("colour", "The object has the named colour"),))
TWO = RubricContent(
    task=Task.T2I, criteria=(*COLOUR.criteria, criterion("shape", "The outline is the named shape")),
)  # fmt: skip
SCORED = TWO.model_copy(update={"mode": Mode.POINTWISE})


class Laboratory:
    """Everything that an evaluation works with."""

    def __init__(self, database: Database, folder: Path, working: Any, until: Any) -> None:
        self.database = database
        self.jobs = JobRepository(database)
        self.rubrics = RubricRepository(database)
        self.datasets = DatasetRepository(database, BlobStore(str(folder / "blobs")))
        self.blobs = folder / "blobs"
        self.judges: list[Judge] = []
        self._working = working
        self._until = until

    async def store(self, rows: Sequence[dict[str, Any]]) -> Dataset:
        """A dataset of drawings named `colour shape`."""
        names = {name for row in rows for name in (*row["images"], *([row["source"]] if "source" in row else []))}
        files = {name: draw(*name.split()[::-1]) for name in names}
        sound = check_dataset(json.dumps(rows).encode(), files, limits=DatasetLimits())
        dataset, _ = await self.datasets.add(sound, tenant=TENANT)
        return dataset

    async def publish(self, content: RubricContent, name: str = "colours") -> RubricVersion:
        version, _ = await self.rubrics.publish(name, content, provenance={})
        return version

    async def judge(self, app: Any = None, **settings: Any) -> Judge:
        """A pixel judge with these settings, or one in front of `app`, which remembers in the database."""
        app = app or create_pixel_judge_app(PixelJudgeSettings(**settings))
        ask = AskLimits(attempts=1, first_backoff=timedelta(milliseconds=1), call_timeout=timedelta(seconds=20))
        limits = JudgeLimits(ask=ask, patience=timedelta(milliseconds=50))
        cache = DatabaseVerdictCache(self.database)
        judge = Judge([OpenAIBackend.in_process(app)], cache=cache, limits=limits)
        self.judges.append(judge)
        await judge.start()
        return judge

    def kind(self, judge_of: Callable[[], Judge | None], *, limits: DeskLimits = SOON) -> EvaluateJob:
        """The kind of job."""
        tools = Tools(
            judge_of=judge_of,
            chat_of=lambda: None,
            datasets=self.datasets,
            rubrics=self.rubrics,
            pictures=Pictures(self.datasets),
            tie_margin=0.05,
        )
        return EvaluateJob(tools, limits=limits)

    async def ask(self, request: EvaluationRequest) -> Job:
        """Ask for an evaluation, as the endpoint does."""
        parameters = request.model_dump(mode="json", exclude={"seed"})
        job, _ = await self.jobs.create("evaluate", tenant=TENANT, parameters=parameters, seed=request.seed)
        return job

    async def run(self, judge: Judge | None, *rubrics: str, dataset: Dataset, **options: Any) -> Job:
        """The job when it is final."""
        request = EvaluationRequest(dataset=dataset.id, rubrics=rubrics, **options)
        job = await self.ask(request)
        async with self._working(evaluate=self.kind(lambda: judge).run):
            final: Job = await self._until(job)
        return final

    async def report(self, judge: Judge, *rubrics: str, dataset: Dataset, **options: Any) -> EvaluationReport:
        """Its result; fails unless the job has succeeded."""
        final = await self.run(judge, *rubrics, dataset=dataset, **options)
        assert final.state is JobState.SUCCEEDED, final.error
        return EvaluationReport.model_validate(final.result)
