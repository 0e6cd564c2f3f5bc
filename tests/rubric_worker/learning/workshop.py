"""A workshop: labelled drawings in a real database and blob store, a pixel judge that also writes, and a worker."""

import asyncio
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.judging.answering import AskLimits
from services.judging.backend import OpenAIBackend
from services.judging.chat import Chat, ChatLimits
from services.judging.judge import Judge, JudgeLimits
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.rubric_worker.desk import DeskLimits
from services.rubric_worker.learn_job import LearnJob
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.tools import Tools
from services.storage.blobs import BlobStore
from services.storage.chat_answers import DatabaseChatCache
from services.storage.database import Database
from services.storage.dataset_checks import DatasetLimits, check_dataset
from services.storage.datasets import DatasetRepository
from services.storage.jobs import JobRepository
from services.storage.rubrics import RubricRepository
from services.storage.verdicts import DatabaseVerdictCache
from shared_schemas.datasets import Dataset
from shared_schemas.evaluations import Fractions
from shared_schemas.jobs import Job, JobState
from shared_schemas.learning import LearnRequest, LearnResult
from tests.judging.gated_judge import by_name

COLOURS = {"red": (220, 40, 40), "blue": (40, 90, 220), "green": (40, 160, 60), "yellow": (240, 210, 40)}
SHAPES = ("circle", "square")
PAPERS = {"dim": 200, "bright": 250}
SIDE = 48
FRACTIONS = Fractions(train=0.4, validation=0.3, test=0.3)
TENANT = "a"
NAME = "shapes"
SOON = DeskLimits(deadline=timedelta(seconds=20), patience=timedelta(milliseconds=300), pause=timedelta(milliseconds=5))

Answer = Callable[[dict[str, Any]], str | None]
"""Body of a chat request → the text of the answer; None = the pixel judge answers."""


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


def rows_of_mistakes() -> list[dict[str, Any]]:
    """24 pairs for 16 prompts, the right drawing first or second in turn: another colour, or another shape, is wrong.

    The wrong drawing is on brighter paper, which is all that the pixel judge without rubrics looks at.
    """
    rows = []
    wordings = ("a {colour} {shape}", "one {colour} {shape} on paper")
    for wording, (index, colour), shape in product(wordings, enumerate(COLOURS), SHAPES):
        prompt, right = wording.format(colour=colour, shape=shape), f"{colour} {shape} dim"
        [other_shape] = set(SHAPES) - {shape}
        wrong = [f"{list(COLOURS)[(index + 1) % len(COLOURS)]} {shape} bright", f"{colour} {other_shape} bright"]
        rows += [{"prompt": prompt, "images": [right, name], "rank": [1, 2]} for name in wrong[: 1 + index % 2]]
    return [turned(row) if number % 2 else row for number, row in enumerate(rows)]


def turned(row: dict[str, Any]) -> dict[str, Any]:
    """The same with its images and its label the other way round."""
    return row | {"images": row["images"][::-1], "rank": row["rank"][::-1]}


def draw(name: str) -> Drawing:
    """A drawing named `colour shape paper`: the shape in the middle of the paper."""
    colour, shape, paper = name.split()
    canvas = Image.new("RGB", (SIDE, SIDE), (PAPERS[paper],) * 3)
    box = (SIDE // 4, SIDE // 4, 3 * SIDE // 4, 3 * SIDE // 4)
    pen = ImageDraw.Draw(canvas)
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=COLOURS[colour])
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG")
    return Drawing(buffer.getvalue())


class Recorder:
    """Passes requests on to an application, keeps their bodies, and answers some of them itself."""

    def __init__(self, app: ASGIApp, *, answer: Answer = lambda _body: None) -> None:
        self._app = app
        self._answer = answer
        self.bodies: list[bytes] = []
        """Of chat requests that were answered, in the order of their answers; images by their names."""
        self.num_left: int | None = None
        """So many more are taken on, the others wait for ever; none = any number."""
        self.has_stopped = asyncio.Event()
        """Set when a request has come that waits for ever."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/chat/completions"):
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        await self._take_on()
        text = self._answer(json.loads(by_name(body)))
        is_refused = False

        async def watch(message: Message) -> None:
            nonlocal is_refused
            is_refused |= message.get("status", 200) == 400
            await send(message)

        if text is None:
            await self._app(scope, _once(body), watch)
        else:
            message = {"role": "assistant", "content": text}
            await _send_json(send, {"choices": [{"message": message, "finish_reason": "stop"}]})
        if not is_refused:  # for a name that only the recorder was told, say
            self.bodies.append(by_name(body))

    async def _take_on(self) -> None:
        if self.num_left is None:
            return
        if self.num_left == 0:
            self.has_stopped.set()
            await asyncio.Event().wait()
        self.num_left -= 1


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _once(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    return receive


async def _send_json(send: Send, value: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


class Workshop:
    """Everything that learning works with."""

    def __init__(self, database: Database, folder: Path, working: Any, until: Any) -> None:
        self.database = database
        self.jobs = JobRepository(database)
        self.rubrics = RubricRepository(database)
        self.blobs = folder / "blobs"
        self.datasets = DatasetRepository(database, BlobStore(str(self.blobs)))
        self.judges: list[Judge] = []
        self._working = working
        self._until = until

    async def store(self, rows: Sequence[dict[str, Any]], files: dict[str, Drawing] | None = None) -> Dataset:
        """A dataset of `files`, or of drawings by their names."""
        names = {name for row in rows for name in (*row["images"], *([row["source"]] if "source" in row else []))}
        files = files or {name: draw(name) for name in names}
        sound = check_dataset(json.dumps(rows).encode(), files, limits=DatasetLimits())
        dataset, _ = await self.datasets.add(sound, tenant=TENANT)
        return dataset

    async def judge(self, app: ASGIApp | None = None, *, attempts: int = 1, **settings: Any) -> Judge:
        """A pixel judge with these settings, or one in front of `app`, which remembers in the database."""
        app = app or create_pixel_judge_app(PixelJudgeSettings(**settings))
        ask = AskLimits(attempts=attempts, first_backoff=timedelta(milliseconds=1), call_timeout=timedelta(seconds=20))
        limits = JudgeLimits(ask=ask, patience=timedelta(milliseconds=50))
        judge = Judge([OpenAIBackend.in_process(app)], cache=DatabaseVerdictCache(self.database), limits=limits)
        self.judges.append(judge)
        await judge.start()
        return judge

    def chat(self, judge: Judge) -> Chat:
        """The same server, writing."""
        limits = ChatLimits(first_backoff=timedelta(milliseconds=1))
        return Chat(judge.replica_set, cache=DatabaseChatCache(self.database), limits=limits)

    def kind(
        self,
        judge: Judge | None,
        chat: Chat | None = None,
        *,
        writes: bool = True,
        limits: DeskLimits = SOON,
        **tools: Any,
    ) -> LearnJob:
        """The kind of job; the judge writes unless another one does, or nobody."""
        writer = chat if judge is None or chat is not None else self.chat(judge)
        return LearnJob(
            Tools(
                judge_of=lambda: judge,
                chat_of=lambda: writer if writes else None,
                datasets=self.datasets,
                rubrics=self.rubrics,
                pictures=Pictures(self.datasets),
                tie_margin=0.05,
                **tools,
            ),
            limits=limits,
        )

    async def ask(self, dataset: Dataset, *, seed: int = 0, name: str = NAME, **request: Any) -> Job:
        """Ask for a rubric set, as the endpoint does; what is no field of the request is a parameter of the method."""
        fields = {key: request.pop(key) for key in ("alias", "publish_anyway", "task", "method") if key in request}
        usual = {} if "method" in fields else {"max_revisions": 2}
        parameters = {**usual, "fractions": FRACTIONS.model_dump(), **request}
        body = LearnRequest.model_validate({"dataset": dataset.id, "parameters": parameters, **fields})
        values = {"name": name, **body.model_dump(mode="json", exclude={"seed"})}
        job, _ = await self.jobs.create("learn", tenant=TENANT, parameters=values, seed=seed)
        return job

    async def finish(self, job: Job, kind: LearnJob) -> Job:
        """The job when it is final."""
        async with self._working(learn=kind.run):
            final: Job = await self._until(job)
        return final

    async def run(self, judge: Judge | None, dataset: Dataset, *, chat: Chat | None = None, **request: Any) -> Job:
        """Ask, and wait until it is final."""
        return await self.finish(await self.ask(dataset, **request), self.kind(judge, chat))

    async def learn(self, judge: Judge, dataset: Dataset, **request: Any) -> LearnResult:
        """The result; fails unless the job has succeeded."""
        return succeeded(await self.run(judge, dataset, **request))


def succeeded(job: Job) -> LearnResult:
    """The result of a job that has succeeded."""
    assert job.state is JobState.SUCCEEDED, job.error
    return LearnResult.model_validate(job.result)


def answer_properties(body: dict[str, Any]) -> set[str]:
    """What the answer to a chat request shall say, at its top; `criteria`, `themes`, `entries` from one who writes.

    Empty for requests that leave the answer's form open, as verdicts do that are read from log-probabilities.
    """
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    return set(schema.get("properties", {}))
