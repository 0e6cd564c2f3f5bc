"""Watching a job until it is over. The one rule: Ctrl-C ends the watching, never the job."""

from datetime import timedelta

import typer

from arr.connection import DEFAULT_URL, connected
from arr.console import ExitCode, note
from arr.jobs.progress import JobProgress
from arr.retry_lines import announcing_retries
from reward_client.retries import RetryPolicy
from shared_schemas.jobs import Job

PATIENCE = RetryPolicy(attempts=100, deadline=timedelta(minutes=10), wait_max=timedelta(seconds=5))
"""Between two looks at a job: a service that is started again is no reason to stop watching."""


def follow(job_id: int, *, url: str) -> Job:
    """The job once it is over, its progress drawn meanwhile.

    Ctrl-C ends the command with 130, and says how to watch on or to stop the job.
    """
    try:
        with (
            connected(url, retries=PATIENCE, or_else=f"The job goes on: {how_to_go_on(job_id, url=url)}") as client,
            JobProgress() as progress,
            announcing_retries(progress.announce),
        ):
            return client.wait_for_job(job_id, on_progress=progress.show)
    except KeyboardInterrupt:
        note(f"job {job_id} goes on: {how_to_go_on(job_id, url=url)}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def how_to_go_on(job_id: int, *, url: str) -> str:
    """The commands for a job that nobody watches."""
    at = "" if url == DEFAULT_URL else f" --url {url}"
    return f"`arr jobs follow {job_id}{at}` watches it, `arr jobs cancel {job_id}{at}` stops it"
