"""Options that commands share that start a job, and what such a command does once it has started one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arr.connection import connected
from arr.console import ExitCode, fail, note

if TYPE_CHECKING:
    from shared_schemas.jobs import Job

PairsPath = Annotated[
    Path | None,
    typer.Option("--pairs", metavar="PATH", exists=True, help="Labelled pairs to upload: a file or a folder."),
]
DatasetId = Annotated[
    int | None, typer.Option("--dataset", metavar="ID", min=1, help="Labelled pairs that the service has.")
]
PairsFormat = Annotated[str, typer.Option("--format", help="Layout of --pairs: see `arr pairs formats`.")]
PairsImages = Annotated[
    Path | None,
    typer.Option(
        "--images",
        exists=True,
        file_okay=False,
        help="The folder that image paths of --pairs are relative to.",
        show_default="where the rows are",
    ),
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="DIR", file_okay=False, help="Write report.html and report.json here.", show_default=False
    ),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Start the job and leave; `arr jobs follow ID` comes back.")]
JobAsJson = Annotated[bool, typer.Option("--json", help="Print the job with its result as JSON.")]


def check_report(folder: Path | None) -> None:
    """Make the report's folder; ends the command early where no report could be drawn, or written there."""
    from importlib.util import find_spec

    if folder is None:
        return
    if not all(find_spec(name) for name in ("jinja2", "matplotlib")):
        fail("a report needs jinja2 and matplotlib: pip install 'rubric-reward[reports]'", code=ExitCode.USAGE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"--report: the folder {folder} cannot be made: {error.strerror}", code=ExitCode.USAGE)


def see_through(job: "Job", *, url: str, report: Path | None, as_json: bool, no_wait: bool) -> None:
    """Follow a job that was started to its end and say what came of it; ends the command unless it did well."""
    from arr.jobs.following import follow, how_to_go_on
    from arr.jobs.outcome import fail_unless_succeeded, read_outcome, tell

    if no_wait:
        if as_json:
            typer.echo(job.model_dump_json(indent=2))
        else:
            typer.echo(f"job {job.id} is {job.state}")
            note(how_to_go_on(job.id, url=url))
        return
    job = follow(job.id, url=url)
    with connected(url) as client:
        outcome = read_outcome(job, client)
    tell(outcome, report=report, as_json=as_json)
    fail_unless_succeeded(job)
