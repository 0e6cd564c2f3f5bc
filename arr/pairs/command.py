"""`arr pairs …`: look at a published preference dataset, and hand it to the service."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arr.connection import DEFAULT_URL, AsJson, Url
from arr.console import OUT, ExitCode, fail

if TYPE_CHECKING:
    from arr.pairs.reading import Wanted

_HELP = """Read labelled image pairs from published datasets or files of your own, check them, and upload them.

```
arr pairs formats
arr pairs check HPDv3 --format hpdv3 --split test
arr pairs import HPDv3 --format hpdv3 --split test --sample 500
```
"""

pairs_app = typer.Typer(name="pairs", no_args_is_help=True, help=_HELP)

DatasetPath = Annotated[
    Path, typer.Argument(metavar="PATH", exists=True, help="An annotation file, or the folder of the dataset.")
]
FormatName = Annotated[str, typer.Option("--format", metavar="NAME", help="Its layout: see `arr pairs formats`.")]
SplitName = Annotated[
    str | None, typer.Option("--split", help="Only this split of the dataset, or `all`.", show_default=False)
]
ImagesFolder = Annotated[
    Path | None,
    typer.Option(
        "--images",
        exists=True,
        file_okay=False,
        help="The folder that image paths are relative to.",
        show_default="where the annotation files are",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Take the first rows that can be used.", show_default=False)]
Sample = Annotated[int | None, typer.Option(min=1, help="Take so many rows, chosen by the seed.", show_default=False)]
Seed = Annotated[int, typer.Option(help="For --sample, and for the sides of datasets whose first image always wins.")]


@pairs_app.command("formats")
def list_formats(as_json: AsJson = False) -> None:
    """List the layouts that can be read.

    ```
    arr pairs formats
    ```
    """
    from rich.table import Table
    from rich.text import Text

    from arr.pairs.formats import FORMATS

    if as_json:
        typer.echo(json.dumps({name: known.summary for name, known in FORMATS.items()}, indent=2))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, known in FORMATS.items():
        table.add_row(name, Text(known.summary))
    OUT.print(table)


@pairs_app.command()
def check(
    path: DatasetPath,
    format_name: FormatName,
    split: SplitName = None,
    images: ImagesFolder = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Read everything, decode every image, and say what is there and what cannot be used.

    Ends with 1 when a row cannot be used.

    ```
    arr pairs check HPDv3 --format hpdv3
    arr pairs check data/validation_unique-00000-of-00001.parquet --format pickapic --limit 100 --json
    ```
    """
    from arr.pairs.handing import open_pairs, read_pairs
    from arr.pairs.report import as_json as report_as_json
    from arr.pairs.report import print_report

    wanted = _wanted(limit, sample)
    dataset = open_pairs(path, format_name, split=split, seed=seed)
    census = read_pairs(dataset, wanted, images=images)
    if as_json:
        typer.echo(json.dumps(report_as_json(census), indent=2))
    else:
        print_report(census, OUT)
    if census.unusable:
        raise typer.Exit(ExitCode.FAILED)
    if not census.num_rows:
        fail(f"{path} has no rows")


@pairs_app.command("import")
def import_pairs(
    path: DatasetPath,
    format_name: FormatName,
    split: SplitName = None,
    images: ImagesFolder = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Upload nothing when a single row cannot be used.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Upload rows as one dataset; those that cannot be used are counted and left out.

    The service stores the dataset whole or not at all. Importing the same rows again gives the same dataset.

    ```
    arr pairs import HPDv3 --format hpdv3 --split test --sample 500 --seed 1
    arr pairs import my_pairs.jsonl --format json --strict
    ```
    """
    from arr.pairs.handing import hand_over, open_pairs
    from arr.pairs.report import import_as_json

    wanted = _wanted(limit, sample)
    dataset = open_pairs(path, format_name, split=split, seed=seed, one_split=True)
    uploaded, census = hand_over(dataset, wanted, path=path, images=images, strict=strict, url=url)
    if as_json:
        typer.echo(json.dumps(import_as_json(uploaded, census), indent=2))
    else:
        typer.echo(f"dataset {uploaded.id}  {uploaded.digest}")
        typer.echo(f"{uploaded.num_rows:,} rows, {uploaded.num_images:,} images, task {uploaded.task}")


def _wanted(limit: int | None, sample: int | None) -> "Wanted":
    from arr.pairs.reading import Wanted

    if limit is not None and sample is not None:
        fail("give --limit or --sample, not both", code=ExitCode.USAGE)
    return Wanted(limit=limit, sample=sample)
