"""`arr judge --replay ID`: ask the judge again what it was asked before, and lay both answers side by side.

The one rule: what the judge said is compared, number by number; thresholds and rewards have no part in it.
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

import typer

from arr.connection import connected
from arr.console import OUT, fail

if TYPE_CHECKING:
    from reward_client import CandidateGroup, RewardClient, RewardResult
    from shared_schemas.judgements import JudgementAnswer, JudgementDetail
    from shared_schemas.reward import GroupResult
    from shared_schemas.rubrics import RubricContent

FLOAT_NOISE = 1e-9
"""Nats or probabilities nearer to each other than this are the same number, added up in another order."""

Measured: TypeAlias = Mapping[str, float | str | None]
"""What is compared → its value; none where the judge gave no such answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One thing the judge said, then and now."""

    what: str
    recorded: float | str | None
    replayed: float | str | None

    @property
    def is_same(self) -> bool:
        """Whether both are the same, but for the noise of floating-point sums."""
        if isinstance(self.recorded, float) and isinstance(self.replayed, float):
            return math.isclose(self.recorded, self.replayed, rel_tol=FLOAT_NOISE, abs_tol=FLOAT_NOISE)
        return self.recorded == self.replayed


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A judgement and its repetition."""

    judgement: int
    identical: bool
    """Whether the judge said the same."""
    same_judge: bool
    """Whether the judge's fingerprint is the recorded one."""
    same_rubric: bool
    """Whether the rubric set's digest is the recorded one."""
    measures: tuple[Measure, ...]


def replay(judgement_id: int, *, url: str, as_json: bool) -> None:
    """Judge it again and print both; ends with code 1 when that cannot be done."""
    with connected(url) as client:
        judgement = client.judgement(judgement_id)
        if (rubric := judgement.rubric_content) is None or "first" not in judgement.images:
            fail(
                f"judgement {judgement_id} cannot be replayed: its images were not kept, or are gone by now "
                "(ARR_AUDIT_IMAGES, ARR_AUDIT_DAYS)"
            )
        answer = _ask_again(client, judgement, rubric)
    done = compare(judgement, answer)
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))
    else:
        _print(done, judgement, answer)


def compare(judgement: "JudgementDetail", answer: "RewardResult") -> Replay:
    """What was recorded against what the judge says now."""
    recorded, replayed = _recorded(judgement), _replayed(answer.results[0])
    measures = tuple(
        Measure(what=what, recorded=recorded.get(what), replayed=replayed.get(what))
        for what in dict.fromkeys([*recorded, *replayed])
    )
    return Replay(
        judgement=judgement.id,
        identical=all(measure.is_same for measure in measures),
        same_judge=answer.response.judge.fingerprint == judgement.judge.fingerprint,
        same_rubric=answer.response.rubric.digest == judgement.rubric.digest,
        measures=measures,
    )


def _ask_again(client: "RewardClient", judgement: "JudgementDetail", rubric: "RubricContent") -> "RewardResult":
    from shared_schemas.reward import CachePolicy, Orders, Run
    from shared_schemas.rubrics import Mode

    # The order that a lone answer was asked in is found again from the pair itself.
    asked_once = judgement.mode is Mode.PAIRWISE and len(judgement.answers) == 1
    return client.reward(
        [_group(judgement)],
        rubric=rubric,
        mode=judgement.mode,
        orders=Orders.SINGLE if asked_once else Orders.BOTH,
        per_criterion=judgement.mode is Mode.POINTWISE,
        cache=CachePolicy.OFF,
        run=Run(id=f"replay:{judgement.id}"),
    )


def _group(judgement: "JudgementDetail") -> "CandidateGroup":
    from reward_client import CandidateGroup

    images = {part: base64.b64decode(png) for part, png in judgement.images.items()}
    candidates = [images[part] for part in ("first", "second") if part in images]
    return CandidateGroup(judgement.prompt, candidates, source=images.get("source"), id=judgement.group)


def _recorded(judgement: "JudgementDetail") -> Measured:
    if judgement.error is not None:
        return {"failure": str(judgement.error)}
    if judgement.second is not None:
        return _pair_measures({answer.question: answer for answer in judgement.answers})
    masses = [answer.label_mass for answer in judgement.answers if answer.label_mass is not None]
    return {f"meets {answer.question}": _p_first_label(answer) for answer in judgement.answers} | {
        "label mass": min(masses, default=None)
    }


def _pair_measures(answers: "Mapping[str, JudgementAnswer]") -> Measured:
    """The verdict maths of docs/judging.md, on what was recorded."""
    x_first, y_first = answers.get("first-second"), answers.get("second-first")
    votes = [x_first.chose_first] if x_first is not None else []
    votes += [not y_first.chose_first] if y_first is not None else []
    masses = [answer.label_mass for answer in answers.values() if answer.label_mass is not None]
    label_mass, l_12, l_21 = min(masses, default=None), _log_odds(x_first), _log_odds(y_first)
    if l_12 is None or l_21 is None:
        margin = l_12 if l_21 is None else -l_21
        return _verdict(_preferred(votes), margin, None, label_mass)
    margin = (l_12 - l_21) / 2
    return _verdict(_sign(margin), margin, (l_12 + l_21) / 2, label_mass)


def _replayed(result: "GroupResult") -> Measured:
    if result.error is not None:
        return {"failure": str(result.error.type)}
    if result.pairs:
        [pair] = result.pairs
        winner = "neither" if pair.winner is None else ("first", "second")[pair.winner]
        return _verdict(winner, pair.margin, pair.position_bias, pair.label_mass)
    [rated] = result.criteria
    return {f"meets {criterion}": score for criterion, score in rated.scores.items()} | {"label mass": rated.label_mass}


def _verdict(preferred: str, margin: float | None, bias: float | None, label_mass: float | None) -> Measured:
    measured = {"preferred": preferred, "margin": margin, "position bias": bias, "label mass": label_mass}
    if margin is None or bias is None:
        return measured
    return measured | {"log-odds, first shown first": bias + margin, "log-odds, second shown first": bias - margin}


def _log_odds(answer: "JudgementAnswer | None") -> float | None:
    if answer is None or answer.log_p_first is None or answer.log_p_second is None:
        return None
    return answer.log_p_first - answer.log_p_second


def _p_first_label(answer: "JudgementAnswer") -> float | None:
    log_odds = _log_odds(answer)
    return None if log_odds is None else (1 + math.tanh(log_odds / 2)) / 2  # sigmoid without overflow


def _preferred(votes: list[bool]) -> str:
    """Which image all choices name; each vote says whether it names the first one."""
    return "neither" if len(set(votes)) != 1 else "first" if votes[0] else "second"


def _sign(margin: float) -> str:
    return "first" if margin > 0 else "second" if margin < 0 else "neither"


def _print(done: Replay, judgement: "JudgementDetail", answer: "RewardResult") -> None:
    from rich.table import Table

    table = Table("", "recorded", "replayed", "", box=None, padding=(0, 2, 0, 0))
    for measure in done.measures:
        verdict = "" if measure.is_same else "differs"
        table.add_row(measure.what, _text(measure.recorded), _text(measure.replayed), verdict)
    judge, rubric = answer.response.judge, answer.response.rubric
    same = {True: "", False: "differs"}
    table.add_row("judge", f"{judgement.judge.model}", judge.model, "")
    table.add_row("fingerprint", _short(judgement.judge.fingerprint), _short(judge.fingerprint), same[done.same_judge])
    table.add_row("rubric", _short(judgement.rubric.digest), _short(rubric.digest), same[done.same_rubric])
    OUT.print(table)
    OUT.print("the judge said the same" if done.identical else "the judge said something else")


def _text(value: float | str | None) -> str:
    return "–" if value is None else f"{value:+.6f}" if isinstance(value, float) else value


def _short(digest: str) -> str:
    return f"{digest[:19]}…"
