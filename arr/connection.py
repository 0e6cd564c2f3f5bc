"""A command's connection to a running service: where it is, and what to say when it is not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from arr.console import ExitCode, fail

if TYPE_CHECKING:
    from reward_client import RewardClient

DEFAULT_URL = "http://127.0.0.1:8080"

Url = Annotated[str, typer.Option("--url", envvar="ARR_URL", metavar="URL", help="Where `arr serve` listens.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@contextmanager
def connected(url: str, *, or_else: str = "") -> Iterator["RewardClient"]:
    """Open a client on the service at `url`; `or_else` says how the command does without one.

    What the service or the client refuses ends the command with one line. Nothing is retried: a person at a terminal
    would rather know.
    """
    from reward_client import RewardClient, RewardClientError, ServiceUnavailable
    from reward_client.retries import RetryPolicy

    try:
        with RewardClient(url, retries=RetryPolicy(attempts=1)) as client:
            yield client
    except ServiceUnavailable as error:
        hint = f"; is `arr serve` running at {url}? {or_else}" if error.problem is None else ""
        fail(f"{error}{hint}")
    except RewardClientError as error:
        fail(str(error))
    except ValueError as error:  # the client's word for an argument that cannot be sent
        fail(str(error), code=ExitCode.USAGE)
