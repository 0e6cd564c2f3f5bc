"""`arr judge`: show two pictures to the judge and print what it said in both orders."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arr.connection import DEFAULT_URL, AsJson, Url, connected
from arr.console import OUT, ExitCode, fail, note

if TYPE_CHECKING:
    from reward_client import RewardClient, RewardResult
    from shared_schemas.reward import GroupResult, PairVerdict


def judge(
    first: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A picture, PNG.")],
    second: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The picture to compare it with, PNG.")],
    prompt: Annotated[str, typer.Option(help="What the pictures should show, or the edit instruction.")],
    source: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The picture that was edited, for edit rubrics.")
    ] = None,
    rubric: Annotated[
        str | None,
        typer.Option(
            help="`name@alias`, `name@3`, `name`; `name@none` is the judge without a rubric.",
            show_default="the service's only rubric set; none if it has none",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Compare two pictures by a rubric.

    The pair is judged in both orders, so that a judge's fondness for one place cancels out.

    ```
    arr judge a.png b.png --prompt "a red circle"
    arr judge a.png b.png --prompt "a red circle" --rubric shapes@production
    arr judge a.png b.png --prompt "make it blue" --source before.png --rubric edits --json
    ```
    """
    from reward_client import CandidateGroup

    candidates = (_read_png(first), _read_png(second))
    group = CandidateGroup(prompt, candidates, source=None if source is None else _read_png(source), id="pair")
    with connected(url) as client:
        answer = client.reward([group], rubric=rubric or _only_rubric(client))
    if as_json:
        typer.echo(answer.response.model_dump_json(indent=2))
    else:
        same_name = first.name == second.name
        _print(answer, names=(str(first), str(second)) if same_name else (first.name, second.name))
    if answer.results[0].error is not None:
        fail(f"the pair was not judged ({answer.results[0].error.type}): {answer.results[0].error.detail}")


def _only_rubric(client: "RewardClient") -> str:
    names = [summary.name for summary in client.list_rubrics()]
    if not names:
        note("the service has no rubric sets yet, so the judge judges without one; see `arr rubrics publish --help`")
        return "default@none"
    if len(names) > 1:
        fail(f"the service has several rubric sets; choose with --rubric: {', '.join(names)}", code=ExitCode.USAGE)
    return names[0]


def _read_png(path: Path) -> bytes:
    from reward_client.images import PNG_SIGNATURE

    content = path.read_bytes()
    if not content.startswith(PNG_SIGNATURE):
        fail(f"{path} is not a PNG file; convert it without loss first", code=ExitCode.USAGE)
    return content


def _print(answer: "RewardResult", *, names: tuple[str, str]) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in _rows(answer.results[0], names):
        table.add_row(label, value)
    response = answer.response
    table.add_row("rubric", f"{response.rubric.reference} ({response.rubric.digest[:19]}…)")
    table.add_row("judge", f"{response.judge.model} ({response.usage.judge_calls} calls)")
    OUT.print(table)


def _rows(result: "GroupResult", names: tuple[str, str]) -> list[tuple[str, str]]:
    if not result.pairs:
        return [("winner", "none: not judged")]
    verdict = result.pairs[0]
    l_12, l_21 = orders(verdict)
    rows = [
        ("winner", _winner(result, names)),
        ("margin", f"{verdict.margin:+.3f} nats; p({names[0]} is better) = {verdict.p_first:.3f}"),
        (f"{names[0]} shown first", f"{l_12:+.3f} nats for the first picture"),
        (f"{names[1]} shown first", f"{l_21:+.3f} nats for the first picture"),
        ("position bias", f"{verdict.position_bias:+.3f} nats; {_agreement(verdict)}"),
        ("label mass", f"{verdict.label_mass:.3f}"),
    ]
    if result.rewards is not None:
        rows.insert(1, ("rewards", ", ".join(f"{reward:+g}" for reward in result.rewards)))
    return rows


def orders(verdict: "PairVerdict") -> tuple[float, float]:
    """Log-odds of the picture shown first, in nats, in either order: l_12 = m + b, l_21 = b − m (docs/judging.md)."""
    return verdict.position_bias + verdict.margin, verdict.position_bias - verdict.margin


def _winner(result: "GroupResult", names: tuple[str, str]) -> str:
    if result.ranks is None:
        return "none: a tie"
    return names[result.ranks.index(1)]


def _agreement(verdict: "PairVerdict") -> str:
    if math.isclose(verdict.margin, 0.0):
        return "both orders together prefer neither"
    return "both orders agree" if verdict.consistent else "the orders disagree"
