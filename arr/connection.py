"""A command's connection to a running service: where it is, the key for it, and what to say when it is not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from arr.console import ExitCode, fail

if TYPE_CHECKING:
    from reward_client import RetryPolicy, RewardClient

DEFAULT_URL = "http://127.0.0.1:8080"

API_KEY = "ARR_API_KEY"
"""Environment variable with the key that commands send; an option would show it to everybody in the process list."""

Url = Annotated[str, typer.Option("--url", envvar="ARR_URL", metavar="URL", help="Where `arr serve` listens.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@contextmanager
def connected(url: str, *, or_else: str = "", retries: "RetryPolicy | None" = None) -> Iterator["RewardClient"]:
    """Open a client on the service at `url`; `or_else` says how the command does without one.

    The key in `ARR_API_KEY` goes with every call. What the service or the client refuses ends the command with one
    line. Nothing is retried unless `retries` say so: a person at a terminal would rather know.
    """
    from reward_client import RequestRejected, RetryPolicy, RewardClient, RewardClientError, ServiceUnavailable

    try:
        policy = retries or RetryPolicy(attempts=1)
        with RewardClient(url, api_key=os.environ.get(API_KEY), retries=policy) as client:
            yield client
    except ServiceUnavailable as error:
        hint = f"; is `arr serve` running at {url}? {or_else}" if error.problem is None else ""
        fail(f"{error}{hint}")
    except RequestRejected as error:
        fail(f"{error}{_what_next(error.problem.slug)}")
    except RewardClientError as error:
        fail(str(error))
    except ValueError as error:  # the client's word for an argument that cannot be sent
        fail(str(error), code=ExitCode.USAGE)


def _what_next(slug: str) -> str:
    """What a person at a terminal does about a problem, where the service's own words do not say."""
    from shared_schemas.problems import ProblemType

    advice: dict[str, str] = {
        ProblemType.UNAUTHENTICATED: f" ({API_KEY})",
        ProblemType.FORBIDDEN: f" ({API_KEY})",
        ProblemType.UNKNOWN_RUBRIC: "; `arr rubrics list` shows what there is",
        ProblemType.UNKNOWN_DATASET: "; `arr pairs import` uploads pairs and says their number",
        ProblemType.UNKNOWN_JOB: "; `arr jobs list` shows what there is",
        ProblemType.ARCHIVED_ALIAS: "; `arr rubrics alias` moves an alias",
    }
    return advice.get(slug, "")
