"""`arr keys …`: make API keys, list them, revoke them; works on the key file, no service is asked."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arr.connection import AsJson
from arr.console import OUT, ExitCode, fail, note

if TYPE_CHECKING:
    from services.reward_api.api_keys import ApiKey, KeyFile
    from shared_schemas.access import Scope

_HELP = """Make API keys, list them, revoke them.

The file of keys holds hashes, no secrets. A service that was started with `ARR_API_KEYS` asks everybody for a key, may
listen on any address, and notices changes of the file by itself.

```
arr keys add trainer --scopes reward
ARR_API_KEYS=.arr/keys.json arr serve --host 0.0.0.0
```
"""

keys_app = typer.Typer(name="keys", no_args_is_help=True, help=_HELP)

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar="ARR_API_KEYS",
        dir_okay=False,
        help="The file of keys.",
        show_default="`keys.json` in the data dir",
    ),
]


@keys_app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who holds the key.")],
    scopes: Annotated[
        str, typer.Option(help="What it allows, comma-separated: `reward`, `rubrics`, or `admin` for everything.")
    ] = "reward",
    tenant: Annotated[
        str | None,
        typer.Option(
            help="Whom it belongs to: keys of one tenant share verdicts, judgements and turns at the judge.",
            show_default="the name",
        ),
    ] = None,
    file: FileOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: this once, as only its hash is kept.

    The key goes to standard output, everything else to standard error.

    ```
    arr keys add trainer
    arr keys add release-bot --scopes reward,rubrics --tenant images
    export ARR_API_KEY=$(arr keys add me --scopes admin)
    ```
    """
    keys, wanted = _key_file(file), _read_scopes(scopes)
    with _told_in_one_line():
        key, token = keys.add(name, tenant=name if tenant is None else tenant, scopes=wanted)
    if as_json:
        typer.echo(json.dumps(_public(key) | {"token": token}, indent=2))
    else:
        note(f"Key {key.id} of {key.name} (tenant {key.tenant}) allows {', '.join(key.scopes)}. It is shown this once:")
        typer.echo(token)
        note(
            f"Serve with ARR_API_KEYS={keys.path}. Use it as ARR_API_KEY for `arr` and training, as `api_key=` of "
            "`RewardClient`, or as the header `Authorization: Bearer …`."
        )


@keys_app.command("list")
def list_keys(file: FileOption = None, as_json: AsJson = False) -> None:
    """List all keys, revoked ones included.

    ```
    arr keys list
    ```
    """
    with _told_in_one_line():
        keys = _key_file(file).read()
    if as_json:
        typer.echo(json.dumps([_public(key) for key in keys], indent=2))
    elif keys:
        _print(keys)
    else:
        typer.echo("No keys yet; make one with `arr keys add NAME`.")


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `arr keys list` shows it.")],
    file: FileOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a key useless for ever; a running service refuses it within a second.

    ```
    arr keys revoke 3f9c0a1b2c4d
    ```
    """
    with _told_in_one_line():
        key = _key_file(file).revoke(key_id)
    if as_json:
        typer.echo(json.dumps(_public(key), indent=2))
    else:
        typer.echo(f"{key.id} of {key.name} is revoked since {key.revoked:%Y-%m-%d %H:%M:%S} UTC")


def _key_file(file: Path | None) -> "KeyFile":
    from services.reward_api.api_keys import KeyFile

    return KeyFile(file or Path(os.environ.get("ARR_DATA_DIR") or ".arr") / "keys.json")


def _read_scopes(text: str) -> "list[Scope]":
    from shared_schemas.access import Scope

    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in set(Scope):
            fail(f"there is no scope {name!r}; choose from {', '.join(Scope)} (--scopes)", code=ExitCode.USAGE)
    return [Scope(name) for name in names]


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    from services.reward_api.api_keys import KeyFileError

    try:
        yield
    except (KeyFileError, ValueError) as error:
        fail(str(error), code=ExitCode.USAGE)


def _public(key: "ApiKey") -> dict[str, Any]:
    return key.model_dump(mode="json", exclude={"sha256"})


def _print(keys: "tuple[ApiKey, ...]") -> None:
    from rich.table import Table

    table = Table("id", "name", "tenant", "scopes", "created", "state", box=None, padding=(0, 2, 0, 0))
    for key in keys:
        state = "good" if key.revoked is None else f"revoked {key.revoked:%Y-%m-%d}"
        table.add_row(key.id, key.name, key.tenant, ", ".join(key.scopes), f"{key.created:%Y-%m-%d}", state)
    OUT.print(table)
