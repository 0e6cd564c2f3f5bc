"""`arr judge`: show two pictures to the judge and print what it said, or ask again what it was asked before."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from arr.connection import DEFAULT_URL, AsJson, Url, connected
from arr.console import OUT, ExitCode, fail, note
from arr.replay import replay

if TYPE_CHECKING:
    from reward_client import RewardClient, RewardResult
    from shared_schemas.reward import GroupResult, PairVerdict


def judge(
    first: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="A picture, PNG.", show_default=False)
    ] = None,
    second: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="The picture to compare it with, PNG.", show_default=False),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="What the pictures should show, or the edit instruction.", show_default=False),
    ] = None,
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
    mode: Annotated[
        Literal["pairwise", "pointwise"] | None,
        typer.Option(help="Look at both pictures at once, or at each by itself.", show_default="the rubric set's own"),
    ] = None,
    orders: Annotated[
        Literal["both", "adaptive", "single"], typer.Option(help="In which orders the pair is shown.")
    ] = "both",
    per_criterion: Annotated[
        bool, typer.Option("--per-criterion", help="Say how well each picture meets each criterion, too.")
    ] = False,
    replay_id: Annotated[
        int | None,
        typer.Option(
            "--replay",
            metavar="ID",
            min=1,
            help="Judge again what `GET /judgements/ID` says was judged; takes no pictures.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Compare two pictures by a rubric.

    The pair is judged in both orders, so that a judge's fondness for one place cancels out.

    ```
    arr judge a.png b.png --prompt "a red circle"
    arr judge a.png b.png --prompt "a red circle" --rubric shapes@production --per-criterion
    arr judge a.png b.png --prompt "make it blue" --source before.png --rubric edits --json
    arr judge --replay 17
    ```
    """
    if replay_id is not None:
        if any(given is not None for given in (first, second, prompt, source, rubric, mode)):
            fail("--replay takes pictures, prompt and rubric from the judgement; give --url and --json at most",
                 code=ExitCode.USAGE)  # fmt: skip
        replay(replay_id, url=url, as_json=as_json)
        return
    if first is None or second is None or prompt is None:
        fail("give two pictures and a --prompt, or --replay ID", code=ExitCode.USAGE)
    from reward_client import CandidateGroup
    from shared_schemas.reward import Orders
    from shared_schemas.rubrics import Mode

    candidates = (_read_png(first), _read_png(second))
    group = CandidateGroup(prompt, candidates, source=None if source is None else _read_png(source), id="pair")
    with connected(url) as client:
        answer = client.reward(
            [group],
            rubric=rubric or _only_rubric(client),
            mode=None if mode is None else Mode(mode),
            orders=Orders(orders),
            per_criterion=per_criterion,
        )
    if as_json:
        typer.echo(answer.response.model_dump_json(indent=2))
    else:
        same_name = first.name == second.name
        _print(answer, names=(str(first), str(second)) if same_name else (first.name, second.name))
    if answer.results[0].error is not None:
        fail(f"the pair was not judged ({answer.results[0].error.type}): {answer.results[0].error.detail}")


class OrderLogOdds(NamedTuple):
    """Log-odds of the picture shown first, in nats."""

    first_shown_first: float
    second_shown_first: float


def log_odds_of_orders(verdict: "PairVerdict") -> OrderLogOdds | None:
    """What the judge said in either order: l_12 = b + m, l_21 = b − m (docs/judging.md). None unless asked in both."""
    if verdict.margin is None or verdict.position_bias is None:
        return None
    return OrderLogOdds(verdict.position_bias + verdict.margin, verdict.position_bias - verdict.margin)


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
    for label, value in result_rows(answer.results[0], names):
        table.add_row(label, value)
    response = answer.response
    table.add_row("rubric", f"{response.rubric.reference} ({response.rubric.digest[:19]}…)")
    table.add_row("judge", f"{response.judge.model} ({response.usage.judge_calls} calls)")
    OUT.print(table)


def result_rows(result: "GroupResult", names: tuple[str, str]) -> list[tuple[str, str]]:
    """What to say about a group of the two pictures `names`, as labels and values."""
    if result.error is not None:
        return [("winner", "none: not judged")]
    rows = [("winner", _winner(result, names))]
    if result.rewards is not None:
        rows.append(("rewards", ", ".join(f"{reward:+g}" for reward in result.rewards)))
    for verdict in result.pairs:
        rows += _pair_rows(verdict, names)
    if result.scores is not None:
        rows.append(("scores", _of_each(result.scores, names)))
    for criterion in result.criteria[0].scores if result.criteria else ():
        rows.append((f"meets {criterion}", _of_each([rated.scores[criterion] for rated in result.criteria], names)))
    return rows


def _pair_rows(verdict: "PairVerdict", names: tuple[str, str]) -> list[tuple[str, str]]:
    if verdict.margin is None:
        return [("margin", "none: the judge gives no log-probabilities"), ("orders", _agreement(verdict))]
    rows = [("margin", f"{verdict.margin:+.3f} nats; p({names[0]} is better) = {verdict.p_first:.3f}")]
    if (log_odds := log_odds_of_orders(verdict)) is not None:
        rows += [
            (f"{names[0]} shown first", f"{log_odds.first_shown_first:+.3f} nats for the first picture"),
            (f"{names[1]} shown first", f"{log_odds.second_shown_first:+.3f} nats for the first picture"),
            ("position bias", f"{verdict.position_bias:+.3f} nats; {_agreement(verdict)}"),
        ]
    else:
        rows.append(("position bias", f"unknown; {_agreement(verdict)}"))
    return [*rows, ("label mass", f"{verdict.label_mass:.3f}")]


def _of_each(values: Sequence[float], names: tuple[str, str]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))


def _winner(result: "GroupResult", names: tuple[str, str]) -> str:
    if result.ranks is None:
        return "none: a tie"
    return names[result.ranks.index(1)]


def _agreement(verdict: "PairVerdict") -> str:
    if verdict.consistent is None:
        return "one order was asked"
    if verdict.margin is not None and math.isclose(verdict.margin, 0.0):
        return "both orders together prefer neither"
    return "both orders agree" if verdict.consistent else "the orders disagree"
