"""`arr jobs …`: long work at the service, looked at, followed and stopped."""

import json
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arr.connection import DEFAULT_URL, AsJson, Url, connected
from arr.console import OUT, note
from arr.job_options import JobAsJson, ReportFolder, check_report, see_through

if TYPE_CHECKING:
    from shared_schemas.jobs import Job

_HELP = """Long work at the service: list it, look at it, follow it, stop it.

`arr learn` and `arr evaluate` start such jobs, and they go on when the command that started them is gone.

```
arr jobs list --state running
arr jobs follow 12 --report learned
```
"""

jobs_app = typer.Typer(name="jobs", no_args_is_help=True, help=_HELP)

JobId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The job.")]


@jobs_app.command("list")
def list_jobs(
    state: Annotated[
        Literal["queued", "running", "succeeded", "failed", "cancelled"] | None,
        typer.Option(help="Only those in this state.", show_default=False),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only `learn`, `evaluate` …", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    ```
    arr jobs list
    arr jobs list --state failed --kind learn
    ```
    """
    from shared_schemas.jobs import JobState

    with connected(url) as client:
        jobs = list(islice(client.jobs(state=None if state is None else JobState(state), kind=kind), limit))
    if as_json:
        typer.echo(json.dumps([job.model_dump(mode="json") for job in jobs], indent=2))
    elif jobs:
        _print_list(jobs)
    else:
        typer.echo("No jobs; `arr learn` and `arr evaluate` start some.")


@jobs_app.command()
def show(job_id: JobId, report: ReportFolder = None, url: Url = DEFAULT_URL, as_json: JobAsJson = False) -> None:
    """Show one job: how far it is, and what came of it.

    ```
    arr jobs show 12
    arr jobs show 12 --report learned
    ```
    """
    from arr.jobs.outcome import read_outcome, tell

    check_report(report)
    with connected(url) as client:
        job = client.job(job_id)
        outcome = read_outcome(job, client)
    if not as_json:
        _print_job(job)
    tell(outcome, report=report, as_json=as_json)


@jobs_app.command()
def follow(job_id: JobId, report: ReportFolder = None, url: Url = DEFAULT_URL, as_json: JobAsJson = False) -> None:
    """Watch a job until it is over; ends with 1 unless it did well.

    ```
    arr jobs follow 12
    ```
    """
    check_report(report)
    with connected(url) as client:
        job = client.job(job_id)
    see_through(job, url=url, report=report, as_json=as_json, no_wait=False)


@jobs_app.command()
def cancel(job_id: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Stop a job: at once when it waits, within seconds when it runs.

    ```
    arr jobs cancel 12
    ```
    """
    with connected(url) as client:
        job = client.cancel_job(job_id)
    if as_json:
        typer.echo(job.model_dump_json(indent=2))
    elif job.state.is_final:
        typer.echo(f"job {job.id} is {job.state}")
    else:
        typer.echo(f"job {job.id} stops")


def _print_list(jobs: "list[Job]") -> None:
    from rich.table import Table

    from arr.jobs.outcome import about

    table = Table("id", "kind", "about", "state", "created", box=None, padding=(0, 2, 0, 0))
    for job in jobs:
        table.add_row(str(job.id), job.kind, about(job), _state(job), f"{job.created:%Y-%m-%d %H:%M}")
    OUT.print(table)


def _state(job: "Job") -> str:
    """`running: verifying 40/100`, `failed: no-better-than-none`."""
    if job.state.is_final:
        return f"{job.state}: {job.reason}" if job.reason and job.reason != job.state else str(job.state)
    if not job.stages:
        return str(job.state)
    stage = job.stages[-1]
    return f"{job.state}: {stage.name} {stage.done}/{stage.total}"


def _print_job(job: "Job") -> None:
    from rich.table import Table
    from rich.text import Text

    from arr.jobs.outcome import about
    from arr.reports.numbers import count, duration

    OUT.print(Text(f"job {job.id}: {job.kind} ").append(about(job)).append(f", {job.state}"), style="bold")
    if job.error is not None:
        note(f"{job.error.type}: {job.error.detail}")
    if job.result is not None or not job.stages:
        return  # the result says what the stages took
    table = Table("stage", "done", "calls", "tokens", "time", box=None, padding=(0, 2, 0, 0))
    for stage in job.stages:
        done = f"{stage.done:,} of {stage.total:,}"
        table.add_row(Text(stage.name), done, count(stage.judge_calls), count(stage.tokens), duration(stage.seconds))
    OUT.print(table)
