"""`arr learn`: labelled pairs in, a published and measured rubric version out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from arr.connection import DEFAULT_URL, Url, connected
from arr.console import OUT, ExitCode, fail
from arr.job_options import (
    DatasetId,
    JobAsJson,
    NoWait,
    PairsFormat,
    PairsImages,
    PairsPath,
    ReportFolder,
    check_report,
    see_through,
)
from arr.rubrics.names import SetName

if TYPE_CHECKING:
    from shared_schemas.learning import LearnRequest, Parameters


class LearnCommand(TyperCommand):
    """Adds the table of parameters to `--help`; they are looked up only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """See `TyperCommand`."""
        super().format_help(ctx, formatter)
        _print_parameters()


def learn(
    name: SetName,
    pairs: PairsPath = None,
    dataset: DatasetId = None,
    format_name: PairsFormat = "json",
    images: PairsImages = None,
    method: Annotated[Literal["arr", "autorubric_t2i"], typer.Option(help="How it is learned.")] = "arr",
    task: Annotated[
        Literal["t2i", "edit"] | None, typer.Option(help="What the images are.", show_default="as the pairs say")
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A TOML or JSON file of parameters.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter; may be given several times.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal rubric sets.")] = 0,
    alias: Annotated[str | None, typer.Option(help="An alias to point at the new version.")] = None,
    publish_anyway: Annotated[
        bool, typer.Option("--publish-anyway", help="Publish also what is no better than the judge without rubrics.")
    ] = False,
    report: ReportFolder = None,
    url: Url = DEFAULT_URL,
    no_wait: NoWait = False,
    as_json: JobAsJson = False,
) -> None:
    """Learn a rubric set from labelled pairs, measure it on held-out ones, and publish it.

    Criteria are proposed for every training pair, verified by a judge that is not told the label, revised, selected,
    and grouped into themes. The method `autorubric_t2i` writes many more, weighs them by a sparse regression, and keeps
    a few with their weights, which score images one by one. What is no better than the judge without rubrics is not
    published, and the command ends with 1. Ctrl-C leaves the job alone: it goes on at the service.

    ```
    arr learn shapes --pairs my_pairs.jsonl
    arr learn shapes --dataset 3 --alias production --report learned
    arr learn shapes --dataset 3 --param criteria_per_pair=3 --param language=zh --seed 1
    arr learn shapes --dataset 3 --method autorubric_t2i --param max_criteria=12 --param stability=true
    ```
    """
    chosen = _parameters(parameters, param or [], method)
    _check({"dataset": 1, "task": task, "seed": seed, "alias": alias})
    check_report(report)
    from arr.pairs.handing import chosen_dataset

    dataset_id = chosen_dataset(pairs, dataset, format_name=format_name, images=images, url=url)
    wanted = {"dataset": dataset_id, "task": task, "seed": seed, "alias": alias, "publish_anyway": publish_anyway}
    request = _check(wanted | {"method": method, "parameters": chosen})
    with connected(url) as client:
        job = client.learn(name, request)
    see_through(job, url=url, report=report, as_json=as_json, no_wait=no_wait)


def _parameters(file: Path | None, settings: list[str], method: str) -> "Parameters":
    from arr.learn_parameters import ParameterError, read_parameters
    from shared_schemas.learning import Method

    try:
        return read_parameters(file, settings, method=Method(method))
    except ParameterError as error:
        fail(str(error), code=ExitCode.USAGE)


def _check(values: dict[str, Any]) -> "LearnRequest":
    """The request; ends the command where an option is wrong, before anything is uploaded."""
    from pydantic import ValidationError

    from shared_schemas.learning import LearnRequest
    from shared_schemas.messages import in_one_line

    try:
        return LearnRequest.model_validate(values)
    except ValidationError as error:
        fail(f"--{in_one_line(error)}", code=ExitCode.USAGE)


def _print_parameters() -> None:
    from rich.box import ROUNDED
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from arr.learn_parameters import parameter_rows
    from shared_schemas.learning import Method

    for method in Method:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(ratio=1)
        for row in parameter_rows(method):
            meaning = Text(row.meaning)
            meaning.append(f" ({row.accepted}{f'; default: {row.default}' if row.default else ''})", style="dim")
            table.add_row(row.name, meaning)
        title = f"Parameters of {method.value} (--param KEY=VALUE)"
        OUT.print(Panel(table, title=title, title_align="left", border_style="dim", box=ROUNDED))
