"""`arr rubrics …`: publish rubric sets, look at them, and move their aliases."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arr.connection import DEFAULT_URL, AsJson, Url, connected
from arr.console import OUT, ExitCode, fail

if TYPE_CHECKING:
    from shared_schemas.rubrics import PublishRequest, RubricSummary, RubricVersion

_HELP = """Publish rubric sets, look at them, and move their aliases.

A set has numbered versions that never change; an alias is a name for one of them, and may move.

```
arr rubrics publish shapes arr/demo/rubric.json
arr rubrics alias shapes production 1
arr rubrics show shapes@production
```
"""

rubrics_app = typer.Typer(name="rubrics", no_args_is_help=True, help=_HELP)

SetName = Annotated[str, typer.Argument(help="Name of the rubric set.")]


@rubrics_app.command("list")
def list_rubrics(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List all rubric sets with their newest version and aliases.

    ```
    arr rubrics list
    ```
    """
    with connected(url) as client:
        summaries = list(client.list_rubrics())
    if as_json:
        typer.echo(json.dumps([summary.model_dump(mode="json") for summary in summaries], indent=2))
    elif summaries:
        _print_summaries(summaries)
    else:
        typer.echo("No rubric sets yet; publish one with `arr rubrics publish NAME FILE`.")


@rubrics_app.command()
def show(
    rubric: Annotated[str, typer.Argument(help="`name` (= newest), `name@3` or `name@alias`.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one version: every theme with its tips.

    ```
    arr rubrics show shapes@production
    arr rubrics show shapes@3 --json > shapes.json
    ```
    """
    with connected(url) as client:
        identity = client.resolve_rubric(rubric)
        if identity.name is None or identity.version is None:
            fail(f"{rubric} is the judge without a rubric: there is nothing to show", code=ExitCode.USAGE)
        version = client.get_rubric(identity.name, identity.version)
    if as_json:
        typer.echo(version.model_dump_json(indent=2))
    else:
        _print_version(version)


@rubrics_app.command()
def publish(
    name: SetName,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON: a rubric's content.")],
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
    request = _read_request(file)
    with connected(url) as client:
        version = client.publish_rubric(name, request.content, request.provenance)
    if as_json:
        typer.echo(version.model_dump_json(indent=2))
    else:
        typer.echo(f"{version.name}@{version.version}  {version.digest}")


@rubrics_app.command()
def alias(
    name: SetName,
    alias: Annotated[str, typer.Argument(help="The alias, such as `production`.")],
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


def _read_request(file: Path) -> "PublishRequest":
    from pydantic import ValidationError

    from shared_schemas.messages import in_one_line
    from shared_schemas.rubrics import PublishRequest, RubricContent

    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(data, dict) and "content" in data:
            wanted = {key: data[key] for key in ("content", "provenance") if key in data}
            return PublishRequest.model_validate(wanted)
        return PublishRequest(content=RubricContent.model_validate(data))
    except ValidationError as error:
        fail(f"{file}: {in_one_line(error, whole='the file')}", code=ExitCode.USAGE)
    except (ValueError, OSError) as error:
        fail(f"{file} is not JSON: {error}", code=ExitCode.USAGE)


def _print_summaries(summaries: "list[RubricSummary]") -> None:
    from rich.table import Table

    table = Table("name", "newest", "task", "criteria", "aliases", box=None, padding=(0, 2, 0, 0))
    for summary in summaries:
        aliases = ", ".join(f"{alias} → {version}" for alias, version in sorted(summary.aliases.items()))
        table.add_row(summary.name, str(summary.latest), summary.task, str(summary.num_criteria), aliases)
    OUT.print(table)


def _print_version(version: "RubricVersion") -> None:
    typer.secho(f"{version.name}@{version.version}  {version.digest}", bold=True)
    content = version.content
    typer.echo(f"{content.task}, {content.mode}, published {version.created:%Y-%m-%d %H:%M} UTC")
    if content.task_description:
        typer.echo(content.task_description)
    for criterion in content.criteria:
        typer.secho(f"\n{criterion.theme}  ({criterion.id}, weight {criterion.weight:g})", bold=True)
        for tip in criterion.tips:
            typer.echo(f"  - {tip}")
