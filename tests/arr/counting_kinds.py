"""Kinds of jobs for `arr worker --kinds tests.arr.counting_kinds:kinds`: small, and honest about who did what when.

Their parameters name a folder: what is remembered there stands for the verdict cache, `log` has a line per item done
(`<process id> <attempt> <item>`), and a file `go-<attempt>` lets the stubborn ones go on.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.reward_api.state import Services
from services.rubric_worker.job_kinds import JobKinds
from services.rubric_worker.running_job import RunningJob
from services.storage.errors import StaleWorkerError
from services.storage.rubrics import publish_version
from shared_schemas.rubrics import Criterion, RubricContent, Task


def kinds(_services: Services) -> JobKinds:
    return {"remember": Remember(), "stubborn": Stubborn(), "compute": Compute()}


def folder_of(job: RunningJob) -> Path:
    return Path(job.parameters["folder"])


def note_down(job: RunningJob, item: object) -> None:
    with (folder_of(job) / "log").open("a") as log:
        log.write(f"{os.getpid()} {job.attempt} {item}\n")


async def publish(job: RunningJob, theme: str) -> Mapping[str, Any]:
    content = RubricContent(task=Task.T2I, criteria=(Criterion(id="c", theme=theme),))
    async with job.commit() as commit:
        version, _ = await publish_version(
            commit.session, job.parameters["name"], content, provenance={"attempt": job.attempt}
        )
        commit.finish({"digest": version.digest})
    return {}


class Remember:
    """Finds out a number per item, slowly and at a price, unless it is remembered; publishes what it makes of them."""

    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        num_items = int(job.parameters["items"])
        total = hashlib.sha256()
        job.stage("finding out", num_items)
        for item in range(num_items):
            remembered = folder_of(job) / f"item-{job.seed}-{item}"
            if not remembered.exists():
                await asyncio.sleep(0.02)
                job.spend(judge_calls=1, tokens=10)
                unfinished = remembered.with_suffix(f".{os.getpid()}")
                unfinished.write_text(str(job.call_seed("finding out", item)))
                unfinished.rename(remembered)
                note_down(job, item)
            total.update(remembered.read_bytes())
            job.advance()
        return await publish(job, total.hexdigest())


class Compute:
    """Begun for the first time, it computes in a thread and never ends; begun again, it has ended."""

    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        if job.attempt == 1:
            await asyncio.to_thread(_compute_for_ever, job)
        return {}


def _compute_for_ever(job: RunningJob) -> None:
    note_down(job, "computes")  # from the thread, so that it cannot be told to stop before it runs
    threading.Event().wait()


class Stubborn:
    """Publishes once it is let go, and does not care whether it was told to stop."""

    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        note_down(job, "begins")
        while not (folder_of(job) / f"go-{job.attempt}").exists():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        try:
            return await publish(job, "the same")
        except StaleWorkerError:
            note_down(job, "refused")
            raise
