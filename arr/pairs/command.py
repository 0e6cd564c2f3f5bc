"""`arr pairs …`: look at a published preference dataset, and hand it to the service."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arr.connection import DEFAULT_URL, AsJson, Url, connected
from arr.console import OUT, ExitCode, fail, note

if TYPE_CHECKING:
    from arr.pairs.census import Census
    from arr.pairs.dataset import PairsDataset
    from arr.pairs.packing import Package
    from arr.pairs.reading import Wanted
    from shared_schemas.datasets import Dataset

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
    from arr.pairs.report import as_json as report_as_json
    from arr.pairs.report import print_report

    wanted = _wanted(limit, sample)
    dataset = _open(path, format_name, split=split, seed=seed)
    census = _read(dataset, wanted, images=images)
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
    from arr.pairs.packing import new_package
    from arr.pairs.report import import_as_json

    wanted = _wanted(limit, sample)
    dataset = _open(path, format_name, split=split, seed=seed, one_split=True)
    with new_package() as package:
        census = _read(dataset, wanted, images=images, package=package)
        _refuse(census, path=path, strict=strict)
        uploaded = _upload(package, url)
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


def _open(path: Path, format_name: str, *, split: str | None, seed: int, one_split: bool = False) -> "PairsDataset":
    from arr.pairs.dataset import open_dataset
    from arr.pairs.formats import FORMATS
    from arr.pairs.records import DatasetError

    if format_name not in FORMATS:
        fail(f"there is no format {format_name!r}; choose from {', '.join(FORMATS)} (--format)", code=ExitCode.USAGE)
    try:
        return open_dataset(path, FORMATS[format_name], split=split, seed=seed, one_split=one_split)
    except DatasetError as error:
        fail(str(error), code=ExitCode.USAGE)


def _read(
    dataset: "PairsDataset", wanted: "Wanted", *, images: Path | None, package: "Package | None" = None
) -> "Census":
    """Count the rows that are wanted, and pack them."""
    from arr.pairs.census import Census
    from arr.pairs.progress import ReadingProgress
    from arr.pairs.reading import read_rows
    from arr.pairs.records import DatasetError
    from arr.pairs.rows import UnusableRow

    census = Census()
    try:
        with ReadingProgress(num_bytes=dataset.num_bytes, limit=wanted.limit) as bar:
            for row in read_rows(dataset, wanted, images=images, choosing=bar.choosing, tick=bar.tick):
                bar.row()
                census.add(row)
                if package is not None and not isinstance(row, UnusableRow):
                    package.add(row)
    except DatasetError as error:
        fail(str(error))
    return census


def _refuse(census: "Census", *, path: Path, strict: bool) -> None:
    """End the command where there is nothing to upload, or `strict` forbids what is left out; else say what that is."""
    from arr.pairs.report import reasons_in_words, unusable_lines

    for line in unusable_lines(census):
        note(line)
    if not census.num_rows:
        fail(f"{path} has no row that can be used" + (f": {reasons_in_words(census)}" if census.unusable else ""))
    if census.unusable and strict:
        fail(f"{len(census.unusable):,} rows cannot be used ({reasons_in_words(census)}); nothing was uploaded")
    if 0 < census.num_with_source < census.num_rows:
        fail(
            f"{census.num_with_source:,} of {census.num_rows:,} rows have a source image; a dataset is all edits or "
            "none: choose one of its splits"
        )
    if census.unusable:
        note(f"left out: {reasons_in_words(census)}")


def _upload(package: "Package", url: str) -> "Dataset":
    from arr.pairs.progress import uploading
    from arr.pairs.report import MAX_LISTED
    from reward_client import RequestRejected

    with connected(url) as client, uploading(num_images=len(package.images), num_bytes=package.num_bytes):
        try:
            return client.upload_dataset(package.rows, package.images)
        except RequestRejected as error:
            for fault in error.problem.errors[:MAX_LISTED]:
                note(f"{package.place_of(fault.where)}: {fault.message}")
            raise
