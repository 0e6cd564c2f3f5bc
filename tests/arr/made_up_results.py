"""Results of jobs, made up, of every shape: many rubrics, few, one; with and without log-probabilities and orders."""

import math
from collections.abc import Sequence
from typing import Any

from shared_schemas.autorubric import (
    AutoRubricParameters,
    BucketCounts,
    LearningRound,
    PathPoint,
    SparseSelection,
    WeighedCriterion,
)
from shared_schemas.evaluations import Anchor, CriterionReport, Estimate, EvaluationReport, ReliabilityBin, RubricReport
from shared_schemas.evaluations import Usage as EvaluationUsage
from shared_schemas.jobs import Job
from shared_schemas.learning import ArrParameters, LearnRequest, LearnResult, Method, ProposalCounts, StageCost
from shared_schemas.rubrics import Calibration, Criterion, RubricContent, RubricIdentity, RubricVersion, Task

DIGEST = f"sha256:{'ab' * 32}"
CREATED = "2026-01-02T03:04:05Z"


def estimate(value: float, half_width: float = 0.06) -> Estimate:
    return Estimate(value=value, low=max(0.0, value - half_width), high=min(1.0, value + half_width))


def rubric_report(
    name: str = "shapes", version: int | None = 3, *, accuracy: float = 0.78, themes: int = 4, **changes: Any
) -> RubricReport:
    """Figures that fit together well enough to look at."""
    criteria = tuple(
        CriterionReport(
            id=f"c{number}",
            theme=f"Theme number {number} of the set",
            auc=estimate(0.5 + 0.4 * math.sin(number), 0.08),
            mean_score=(0.2 + 0.13 * number) % 1,
            num_pairs=212,
        )
        for number in range(1, themes + 1)
    )
    redundancy = tuple(
        tuple(1.0 if row == column else math.cos(row * 1.7 - column * 1.7) * 0.95 for column in range(themes))
        for row in range(themes)
    )
    bins = tuple(
        ReliabilityBin(
            low=0.5 + number / 10,
            high=0.6 + number / 10,
            num_pairs=40 - 6 * number,
            confidence=0.55 + number / 10,
            accuracy=min(1.0, accuracy - 0.15 + 0.07 * number),
        )
        for number in range(5)
    )
    figures: dict[str, Any] = {
        "rubric": RubricIdentity(name=name, version=version, digest=DIGEST),
        "num_pairs": 212,
        "num_learned_from": 0,
        "num_failed": 3,
        "failures": {"judge-off-topic": 2, "judge-malformed": 1},
        "accuracy": estimate(accuracy),
        "forward": estimate(min(1.0, accuracy + 0.09)),
        "reverse": estimate(accuracy - 0.11),
        "position_gap": 0.2,
        "first_share": estimate(0.61),
        "consistency": estimate(0.8),
        "accuracy_if_consistent": accuracy + 0.05,
        "abstain_rate": 0.04,
        "tie_accuracy": accuracy - 0.03,
        "kappa_labels": 0.55,
        "kappa_runs": 0.93,
        "noise_floor": 0.041,
        "ece": 0.062,
        "brier": 0.181,
        "bins": bins,
        "injection_flip_rate": estimate(0.12),
        "num_injected": 165,
        "criteria": criteria,
        "redundancy": redundancy,
        "calibration": Calibration(temperature=1.3, tie_margin=0.12, ece=0.03, num_pairs=212, dataset=DIGEST),
        "gain": None if version is None else Estimate(value=accuracy - 0.61, low=accuracy - 0.7, high=accuracy - 0.53),
        "p_value": 0.0004 if version is not None else None,
        "usage": EvaluationUsage(
            judge_calls=1272, cached_answers=40, tokens=812_000, seconds=93.4, calls_per_pair=2.0 + themes * 2
        ),
    }
    return RubricReport(**{**figures, **changes})


NO_CRITERIA: dict[str, Any] = {"criteria": (), "redundancy": ()}
NO_LOG_PROBS: dict[str, Any] = {
    **{"ece": None, "brier": None, "bins": (), "calibration": None, "noise_floor": None},
    **NO_CRITERIA,
}
POINTWISE: dict[str, Any] = dict.fromkeys(
    ("forward", "reverse", "position_gap", "first_share", "consistency", "accuracy_if_consistent"), None
)


def evaluation(*rubrics: RubricReport, **changes: Any) -> EvaluationReport:
    none = rubric_report(rubrics[0].rubric.name or "x", None, accuracy=0.61, **NO_CRITERIA) if rubrics else None
    values: dict[str, Any] = {
        "dataset": 7,
        "dataset_digest": DIGEST,
        "task": Task.T2I,
        "split": "test",
        "seed": 0,
        "judge": {"model": "Qwen/Qwen3-VL-8B-Instruct", "fingerprint": DIGEST},
        "num_rows": 230,
        "num_prompts": 171,
        "num_ties": 15,
        "rubrics": (*rubrics, none) if none else (),
        "anchors": (
            Anchor(benchmark="HPDv3", judge="Qwen3-VL-8B", alone=0.672, with_rubrics=0.702, source="arXiv 2605.08354"),
            Anchor(benchmark="HPDv3", judge="HPSv3", alone=0.769, with_rubrics=None, source="arXiv 2605.08354"),
        ),
    }
    return EvaluationReport(**{**values, **changes})


def learned_version(name: str = "shapes", version: int = 3, *, themes: int = 4) -> RubricVersion:
    criteria = tuple(
        Criterion(
            id=f"c{number}",
            theme=f"Theme number {number} of the set",
            tips=tuple(
                f"Tip {tip}: every named object is there, in the number that is asked for." for tip in (1, 2, 3)
            ),
        )
        for number in range(1, themes + 1)
    )
    content = RubricContent(task=Task.T2I, criteria=criteria, task_description="Small drawings for a picture book.")
    return RubricVersion(
        name=name, version=version, digest=content.digest, content=content, provenance={}, created=CREATED
    )


def learn_result(**changes: Any) -> LearnResult:
    values: dict[str, Any] = {
        "rubric": RubricIdentity(name="shapes", version=3, digest=DIGEST),
        "is_new": True,
        "proposals": ProposalCounts(
            proposed=36, verified_at_once=28, verified_after_revision=6, discarded=2, refused_criteria=9
        ),
        "num_candidates": 143,
        "num_selected": 10,
        "structured": True,
        "structure_problem": None,
        "better_than_none": True,
        "p_value": 0.0004,
        "report": evaluation(rubric_report()),
        "stages": (
            StageCost(name="proposing", judge_calls=36, tokens=81_000, seconds=41.0),
            StageCost(name="verifying", judge_calls=642, tokens=530_200, seconds=77.5),
            StageCost(name="structuring", judge_calls=3, tokens=4_000, seconds=2.5),
            StageCost(name="evaluating", judge_calls=904, tokens=700_100, seconds=131.0),
        ),
    }
    return LearnResult(**{**values, **changes})


def finished_job(result: LearnResult | EvaluationReport | None, *, kind: str = "learn", **changes: Any) -> Job:
    request = LearnRequest(dataset=7, parameters=ArrParameters(criteria_per_pair=4)).model_dump(mode="json")
    values: dict[str, Any] = {
        **{"id": 12, "kind": kind, "tenant": "local", "state": "succeeded", "reason": None, "cancel_requested": False},
        **{"stages": (), "judge_calls": 1585, "tokens": 1_315_300, "attempt": 1, "seed": 0, "revision": 40},
        **{"created": CREATED, "started": CREATED, "finished": CREATED, "error": None},
        "parameters": {"name": "shapes", **request},
        "result": None if result is None else result.model_dump(mode="json"),
    }
    return Job(**{**values, **changes})


def weighed(
    number: int, weight: float, *, stability: float | None = None, answered_share: float = 1.0
) -> WeighedCriterion:
    return WeighedCriterion(
        id=f"c{number}",
        theme=f"Theme number {number} of the set",
        statement=f"Is object {number} of the prompt in the image, in the number and the colour that is asked for?",
        weight=weight,
        stability=stability,
        answered_share=answered_share,
    )


def sparse_selection(*, num_kept: int = 4, num_rounds: int = 3, has_stable: bool = True) -> SparseSelection:
    """Kept criteria c1, c2, …; two negative ones, c91 and c92; c81, stable but not kept; two dropped."""

    def share(number: int) -> float | None:
        return round(0.97 * 0.93**number, 3) if has_stable else None

    kept = tuple(weighed(n, round(3.1 * 0.86**n, 4), stability=share(n)) for n in range(1, num_kept + 1))
    negative = tuple(weighed(n, weight, stability=share(n - 90)) for n, weight in ((91, -2.1), (92, -1.7)))
    other = weighed(81, 0.4, stability=share(5))
    rounds = tuple(
        LearningRound(
            round=number,
            num_candidates=120 + 40 * number,
            num_new=120 if number == 0 else 40,
            num_nonzero=30 + number,
            num_kept=num_kept,
            c=1.0,
            train_accuracy=0.8 + 0.04 * number,
            validation_accuracy=0.78 + 0.03 * min(number, 1) - 0.01 * max(0, number - 1),
            misranked=BucketCounts(small_margin=14 - 2 * number, large_margin=20 - 4 * number, high_reward=9 - number),
            drawn=BucketCounts(small_margin=3, large_margin=6, high_reward=2 + number)
            if number < num_rounds - 1
            else BucketCounts(small_margin=0, large_margin=0, high_reward=0),
            num_worn_out=number,
        )
        for number in range(num_rounds)
    )
    path = tuple(_point_of_path(10 ** (step / 6 - 2), (*kept, *negative, other)) for step in range(18))
    return SparseSelection(
        rounds=rounds,
        best_round=min(1, num_rounds - 1),
        path=path,
        kept=kept,
        negative=negative,
        stable=(*(one.model_copy(update={"weight": 1.5}) for one in kept[:3]), other) if has_stable else None,
        stable_accuracy=0.79 if has_stable else None,
        dropped=(weighed(71, 0.0, answered_share=0.41), weighed(72, 0.0, answered_share=0.0)),
        redundancy=tuple(
            tuple(
                1.0 if row == column else round(0.9 * math.cos(1.7 * (row - column)), 3) for column in range(num_kept)
            )
            for row in range(num_kept)
        ),
        num_pairs=212,
        num_pairs_left_out=3,
    )


def _point_of_path(c: float, criteria: Sequence[WeighedCriterion]) -> PathPoint:
    """Each weight begins at a strength of its own, and is its criterion's at C = 1."""
    sizes = {one.id: abs(one.weight) + math.log10(c) * abs(one.weight) ** 0.5 for one in criteria}
    weights = {one.id: math.copysign(sizes[one.id], one.weight) for one in criteria if sizes[one.id] > 0}
    loss = 0.45 + 0.06 * math.log10(c / 2.5) ** 2
    return PathPoint(c=round(c, 6), num_nonzero=3 * len(weights), weights=weights, loss=loss, standard_error=0.02)


def weighing_job(result: LearnResult, **changes: Any) -> Job:
    request = LearnRequest(dataset=7, method=Method.AUTORUBRIC_T2I, parameters=AutoRubricParameters())
    return finished_job(result, **{"parameters": {"name": "shapes", **request.model_dump(mode="json")}, **changes})
