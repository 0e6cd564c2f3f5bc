"""`arr rubrics …`: publish rubric sets, look at them, compare them, move their aliases, and carry them in files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arr.connection import DEFAULT_URL, AsJson, Url, connected
from arr.console import ExitCode, fail, note
from arr.rubrics.names import Alias, SetName

if TYPE_CHECKING:
    from arr.rubrics.files import RubricFormat
    from reward_client import RewardClient
    from shared_schemas.rubrics import RubricVersion

_HELP = """Publish rubric sets, look at them, compare them, move their aliases, and carry them in files.

A set has numbered versions that never change; an alias is a name for one of them, and may move.

```
arr rubrics publish shapes arr/demo/rubric.json
arr rubrics alias shapes production 1
arr rubrics show shapes@production
```
"""

rubrics_app = typer.Typer(name="rubrics", no_args_is_help=True, help=_HELP)

Reference = Annotated[str, typer.Argument(help="`name` (= newest), `name@3` or `name@alias`.")]
FormatName = Literal["json", "yaml", "text"]


@rubrics_app.command("list")
def list_rubrics(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List all rubric sets with their newest version and aliases.

    ```
    arr rubrics list
    ```
    """
    from arr.rubrics.tables import print_summaries

    with connected(url) as client:
        summaries = list(client.list_rubrics())
    if as_json:
        typer.echo(json.dumps([summary.model_dump(mode="json") for summary in summaries], indent=2))
    elif summaries:
        print_summaries(summaries)
    else:
        typer.echo("No rubric sets yet; publish one with `arr rubrics publish NAME FILE`.")


@rubrics_app.command()
def show(
    rubric: Reference,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one version: every theme with its tips.

    ```
    arr rubrics show shapes@production
    arr rubrics show shapes@3 --json > shapes.json
    ```
    """
    from arr.rubrics.tables import print_version

    with connected(url) as client:
        version = _version(client, rubric)
    if as_json:
        typer.echo(version.model_dump_json(indent=2))
    else:
        print_version(version)


@rubrics_app.command()
def publish(
    name: SetName,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON or YAML: a rubric's content.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Publish a file as the next version of a set; a version never changes afterwards.

    The file holds the content itself, or `{"content": …, "provenance": …}` as `arr rubrics show --json` prints it.
    Content that is already published gives its version back.

    ```
    arr rubrics publish shapes rubric.json
    ```
    """
    from arr.rubrics.files import RubricFormat, read_rubric

    form = RubricFormat.YAML if file.suffix.lower() in {".yaml", ".yml"} else RubricFormat.JSON
    with _told_in_one_line():
        request, _ = read_rubric(file, form)
    with connected(url) as client:
        version = client.publish_rubric(name, request.content, request.provenance)
    _say_published(version, as_json=as_json)


@rubrics_app.command()
def alias(
    name: SetName,
    alias: Alias,
    version: Annotated[int, typer.Argument(min=1, help="The version it shall point at.")],
    expected: Annotated[
        int | None, typer.Option(min=1, help="Only if it points at this version now.", show_default=False)
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a version.

    ```
    arr rubrics alias shapes production 3
    arr rubrics alias shapes production 3 --expected 2
    ```
    """
    with connected(url) as client:
        state = client.set_alias(name, alias, version, expected=expected)
    if as_json:
        typer.echo(state.model_dump_json(indent=2))
    else:
        typer.echo(f"{state.name}@{state.alias} is version {state.version}")


@rubrics_app.command()
def diff(
    name: SetName,
    before: Annotated[int, typer.Argument(min=1, metavar="A", help="The version to compare from.")],
    after: Annotated[int, typer.Argument(min=1, metavar="B", help="The version to compare to.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Say what became of every criterion from one version to another: added, removed, changed, reweighted, moved.

    ```
    arr rubrics diff shapes 2 3
    ```
    """
    from arr.rubrics.tables import print_diff

    with connected(url) as client:
        found = client.diff_rubric(name, before, after)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_diff(found)


@rubrics_app.command()
def archive(
    name: SetName,
    version: Annotated[int, typer.Argument(min=1, help="The version that listings shall leave out.")],
    undo: Annotated[bool, typer.Option("--undo", help="Have it back in listings.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Leave a version out of listings. It stays, and whoever names it by number or digest still gets it.

    ```
    arr rubrics archive shapes 2
    arr rubrics archive shapes 2 --undo
    ```
    """
    with connected(url) as client:
        state = client.archive_rubric(name, version, archived=not undo)
    if as_json:
        typer.echo(state.model_dump_json(indent=2))
    else:
        typer.echo(f"{state.name}@{state.version} is {'archived' if state.archived else 'listed'}")


@rubrics_app.command()
def export(
    rubric: Reference,
    file: Annotated[
        Path | None, typer.Argument(dir_okay=False, help="Where to write it.", show_default="standard output")
    ] = None,
    form: Annotated[
        FormatName | None, typer.Option("--format", help="How.", show_default="as FILE is named; else `json`")
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Write one version to a file.

    A file that is there is overwritten. `text` is the reference implementation's form, `Rubric 1:`, `Theme: …`,
    `- Tip1: …`. It holds themes and tips only, so a set with weights or exemplars is refused, and the ids of criteria
    are not in it.

    ```
    arr rubrics export shapes@production shapes.yaml
    arr rubrics export shapes@3 --format text
    ```
    """
    from arr.rubrics.files import write_rubric
    from arr.rubrics.text_form import TextFormError

    with _told_in_one_line():
        wanted = _form(file, form)
    with connected(url) as client:
        version = _version(client, rubric)
    try:
        text = write_rubric(version, wanted)
    except TextFormError as error:
        fail(f"{rubric} does not fit into text: {error}; JSON and YAML hold everything", code=ExitCode.USAGE)
    if file is None:
        typer.echo(text, nl=False)
    else:
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            fail(f"{file} cannot be written: {error.strerror}", code=ExitCode.USAGE)
        note(f"{version.name}@{version.version} is in {file}")


@rubrics_app.command("import")
def import_rubric(
    name: SetName,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON, YAML or text.")],
    form: Annotated[
        FormatName | None, typer.Option("--format", help="How it is written.", show_default="as FILE is named")
    ] = None,
    task: Annotated[Literal["t2i", "edit"], typer.Option(help="Of text files, which do not say.")] = "t2i",
    mode: Annotated[Literal["pairwise", "pointwise"], typer.Option(help="Likewise.")] = "pairwise",
    language: Annotated[Literal["en", "zh"], typer.Option(help="Likewise.")] = "en",
    task_description: Annotated[str, typer.Option(help="Likewise.", show_default=False)] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Publish what `arr rubrics export` wrote, or rubrics of the method's reference implementation.

    The new version's provenance says which file it came from. Content that is already published gives its version back.

    ```
    arr rubrics import shapes shapes.yaml
    arr rubrics import edits rubrics.txt --task edit
    ```
    """
    from arr.rubrics.files import import_provenance, read_rubric

    unsaid = {"task": task, "mode": mode, "language": language, "task_description": task_description}
    with _told_in_one_line():
        wanted = _form(file, form)
        request, exported_from = read_rubric(file, wanted, unsaid=unsaid)
    provenance = import_provenance(request, file, wanted, exported_from=exported_from)
    with connected(url) as client:
        version = client.publish_rubric(name, request.content, provenance)
    _say_published(version, as_json=as_json)


def _form(file: Path | None, named: str | None) -> "RubricFormat":
    """The format that was named, else what the file's name says, else JSON. Raises `RubricFileError`."""
    from arr.rubrics.files import RubricFormat, format_of

    if named is not None:
        return RubricFormat(named)
    return RubricFormat.JSON if file is None else format_of(file)


def _version(client: "RewardClient", reference: str) -> "RubricVersion":
    identity = client.resolve_rubric(reference)
    if identity.name is None or identity.version is None:
        fail(f"{reference} is the judge without a rubric: there is nothing to show", code=ExitCode.USAGE)
    return client.get_rubric(identity.name, identity.version)


def _say_published(version: "RubricVersion", *, as_json: bool) -> None:
    if as_json:
        typer.echo(version.model_dump_json(indent=2))
    else:
        typer.echo(f"{version.name}@{version.version}  {version.digest}")


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    from arr.rubrics.files import RubricFileError

    try:
        yield
    except RubricFileError as error:
        fail(str(error), code=ExitCode.USAGE)
