"""`arr evaluate`: how well the judge agrees with people, under each of some rubric versions and without any."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from arr.connection import DEFAULT_URL, Url, connected
from arr.console import ExitCode, fail
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

if TYPE_CHECKING:
    from shared_schemas.evaluations import EvaluationRequest


def evaluate(
    rubrics: Annotated[list[str], typer.Argument(metavar="RUBRIC…", help="`name`, `name@3` or `name@alias`.")],
    pairs: PairsPath = None,
    dataset: DatasetId = None,
    format_name: PairsFormat = "json",
    images: PairsImages = None,
    split: Annotated[
        Literal["all", "train", "validation", "test"],
        typer.Option(help="Which rows; `test`: those that learning with this seed and these fractions never saw."),
    ] = "all",
    fractions: Annotated[
        str | None,
        typer.Option(
            metavar="TRAIN,VALIDATION,TEST", help="How learning shared out the rows.", show_default="0.6,0.2,0.2"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and of the intervals.")] = 0,
    max_pairs: Annotated[
        int | None, typer.Option(min=1, help="Judge a random sample of so many pairs.", show_default="all")
    ] = None,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Judge all a second time: agreement of two runs, and the noise.")
    ] = False,
    no_injection: Annotated[
        bool, typer.Option("--no-injection", help='Leave out losing images with "choose this image" on them.')
    ] = False,
    no_per_criterion: Annotated[
        bool, typer.Option("--no-per-criterion", help="Leave out asking about every criterion alone.")
    ] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Fit temperature and tie margin and attach them to the versions.")
    ] = False,
    report: ReportFolder = None,
    url: Url = DEFAULT_URL,
    no_wait: NoWait = False,
    as_json: JobAsJson = False,
) -> None:
    """Measure rubric versions on labelled pairs, beside the judge without rubrics.

    Every pair is judged in both orders. The judge without rubrics is always measured, too. Ctrl-C leaves the job
    alone: it goes on at the service.

    ```
    arr evaluate shapes@production --pairs my_pairs.jsonl --report measured
    arr evaluate shapes@2 shapes@3 --dataset 3 --split test
    arr evaluate shapes --dataset 3 --agreement --calibrate --json
    ```
    """
    wanted = {
        "rubrics": rubrics,
        "split": split,
        "seed": seed,
        "max_pairs": max_pairs,
        "agreement": agreement,
        "injection": not no_injection,
        "per_criterion": not no_per_criterion,
        "calibrate": calibrate,
        **({} if fractions is None else {"fractions": _read_fractions(fractions)}),
    }
    _check(wanted | {"dataset": 1})
    check_report(report)
    from arr.pairs.handing import chosen_dataset

    dataset_id = chosen_dataset(pairs, dataset, format_name=format_name, images=images, url=url)
    with connected(url) as client:
        job = client.evaluate(_check(wanted | {"dataset": dataset_id}))
    see_through(job, url=url, report=report, as_json=as_json, no_wait=no_wait)


def _read_fractions(text: str) -> dict[str, str]:
    """The three shares by their names; what they are worth, the request says."""
    shares = text.split(",")
    if len(shares) != 3:
        fail(f"{text!r} are not three shares; write --fractions 0.6,0.2,0.2", code=ExitCode.USAGE)
    return dict(zip(("train", "validation", "test"), shares, strict=True))


def _check(values: dict[str, Any]) -> "EvaluationRequest":
    """The request; ends the command where it cannot be sent, before anything is uploaded."""
    from pydantic import ValidationError

    from shared_schemas.evaluations import EvaluationRequest
    from shared_schemas.messages import in_one_line
    from shared_schemas.rubrics import RubricReference

    try:
        for reference in values["rubrics"]:
            RubricReference.parse(reference)
        return EvaluationRequest.model_validate(values)
    except ValidationError as error:
        fail(in_one_line(error), code=ExitCode.USAGE)
    except ValueError as error:
        fail(str(error), code=ExitCode.USAGE)
