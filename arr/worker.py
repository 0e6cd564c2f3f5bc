"""`arr worker`: jobs done by a process of its own; and the worker that `arr serve` runs beside its endpoints."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arr.console import ExitCode, fail, note

if TYPE_CHECKING:
    from services.reward_api.settings import Settings
    from services.reward_api.state import Services
    from services.rubric_worker.job_kinds import JobKinds
    from services.rubric_worker.worker import Worker

_log = logging.getLogger(__name__)

KindsOf = Callable[["Services"], "JobKinds"]
"""Builds the kinds of jobs from what they work with."""

KINDS = "arr.job_kinds:built_in"
"""The kinds of jobs that there are, as `module:function`."""


def worker(
    data_dir: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="The service's data directory (`ARR_DATA_DIR`).", show_default=".arr"),
    ] = None,
    heartbeat: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="File to touch every 5 seconds, for a health check to look at."),
    ] = None,
    kinds: Annotated[str, typer.Option(help="Kinds of jobs, as `module:function`.", hidden=True)] = KINDS,
) -> None:
    """Do the jobs that were asked for over HTTP.

    `arr serve` does them in its own process unless `ARR_WORKER=none`. Workers beside it keep its answers quick; there
    may be any number. They take the service's settings (docs/api.md). The jobs of a worker that is stopped, or killed,
    are begun again by another, which asks the judge nothing twice.

    ```
    ARR_WORKER=none arr serve &
    arr worker
    ```
    """
    from arr.preflight import ensure_database, ensure_writable
    from services.reward_api.settings import SettingsError, load_settings
    from services.telemetry import configure_logging

    given = {} if data_dir is None else {"data_dir": data_dir}
    try:
        settings = load_settings(**given)
    except SettingsError as error:
        fail(str(error), code=ExitCode.USAGE)
    kinds_of = load_kinds(kinds)
    ensure_writable(settings.data_dir)
    configure_logging(settings.log_level)
    ensure_database(settings.resolved_database_url)
    with suppress(asyncio.CancelledError):
        asyncio.run(_work_until_stopped(settings, kinds_of, heartbeat=heartbeat))


def load_kinds(path: str) -> KindsOf:
    """Import `module:function`; ends the command with one line when there is no such thing."""
    from pkgutil import resolve_name

    try:
        kinds_of: KindsOf = resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        if path == KINDS:  # what is missing is a package
            wanted = "jobs need `pip install 'rubric-reward[worker]'`"
            fail(f"{wanted} ({error}); ARR_WORKER=none leaves them to other processes", code=ExitCode.USAGE)
        fail(f"there are no kinds of jobs at {path!r}: {error} (--kinds)", code=ExitCode.USAGE)
    return kinds_of


def beside_the_service(kinds_of: KindsOf) -> "Callable[[Services], AbstractAsyncContextManager[None]]":
    """A companion for `create_app`: a worker in the service's process that shares its judge and its database."""

    @asynccontextmanager
    async def working(services: "Services") -> AsyncIterator[None]:
        task = asyncio.create_task(_build_worker(services, kinds_of).run())
        task.add_done_callback(_say_if_it_died)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return working


def _say_if_it_died(task: "asyncio.Task[None]") -> None:
    """The service goes on without its worker; somebody should know."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the worker has died: jobs wait until the service is started again", exc_info=error)


async def _work_until_stopped(settings: "Settings", kinds_of: KindsOf, *, heartbeat: Path | None) -> None:
    from arr.heartbeat import beating
    from services.reward_api.access import Access
    from services.reward_api.composition import open_services
    from services.reward_api.metrics import Metrics

    unwatched = settings.model_copy(update={"canary_seconds": 0.0})  # the service watches the judge already
    async with open_services(unwatched, Metrics(), Access(None)) as services, beating(heartbeat):
        working = asyncio.create_task(_build_worker(services, kinds_of).run())
        _stop_on_signals(working)
        note("The worker waits for jobs (stop it with Ctrl-C).")
        await working


def _stop_on_signals(working: "asyncio.Task[None]") -> None:
    """SIGTERM and Ctrl-C end the work in order; a second Ctrl-C ends the process, also in a long computation."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        note("The worker gives its jobs back and stops (Ctrl-C again: at once).")
        working.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, working.cancel)


def _build_worker(services: "Services", kinds_of: KindsOf) -> "Worker":
    from datetime import timedelta

    from services.rubric_worker.worker import Worker, WorkerLimits
    from services.storage.job_claims import JobClaims

    settings = services.settings
    lease = timedelta(seconds=settings.job_lease_seconds)
    return Worker(
        JobClaims(services.database),
        kinds_of(services),
        name=f"{socket.gethostname()}:{os.getpid()}"[:128],
        limits=WorkerLimits(jobs_at_once=settings.worker_jobs, lease=lease),
    )
