"""The part of the learning report that says how weights came about: who is kept, who is not, and what each round did.

Owns what is shown of it. The one rule: criteria are told apart in plots by their numbers in the list, n1, n2, … being
those that point the wrong way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from arr.reports.drawing import as_svg, house_style
from arr.reports.evaluation import Redundancy, redundant_pairs
from arr.reports.learning_weight_plots import NumberedCriterion, regularisation_path, rounds
from arr.reports.numbers import share
from shared_schemas.autorubric import AutoRubricParameters, LearningRound, SparseSelection, WeighedCriterion

_MOST_SHOWN = 20
"""Of the criteria that are not kept; there can be hundreds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightBar:
    """One criterion and its weight."""

    number: str
    criterion: WeighedCriterion
    length: float
    """0 to 1, of the largest weight of all that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """A criterion that was not weighed."""

    criterion: WeighedCriterion
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SideBySide:
    """One criterion in the Top-N, the stable set, or both."""

    number: str
    """In the Top-N; empty when it is not in it."""
    criterion: WeighedCriterion
    top: float | None
    """Its weight in the Top-N."""
    stable: float | None
    """Its weight in the stable set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsView:
    """What `learning_weights_part.html.j2` shows."""

    sparse: SparseSelection
    best: LearningRound
    kept: tuple[WeightBar, ...]
    negative: tuple[WeightBar, ...]
    num_more_negative: int
    """Not shown."""
    dropped: tuple[Dropped, ...]
    """Those answered most rarely first."""
    num_more_dropped: int
    """Not shown."""
    redundant: tuple[Redundancy, ...]
    side_by_side: tuple[SideBySide, ...] | None
    """None when nobody asked for stability selection."""
    path: Markup | None
    """None where it is no path: its strengths are one, as far as they are told."""
    has_loss: bool
    """Whether left-out pairs decided how strong the penalty is."""
    rounds: Markup


def weights_view(sparse: SparseSelection, parameters: AutoRubricParameters) -> WeightsView:
    """Everything that is drawn or put together for the page."""
    best = next(each for each in sparse.rounds if each.round == sparse.best_round)
    kept, negative = _bars(sparse)
    numbered = [NumberedCriterion(number=bar.number, id=bar.criterion.id) for bar in (*kept, *negative)]
    points = [point for point in sparse.path if point.c > 0]  # what is rounded to 0 has no place on a logarithmic scale
    is_path = len({point.c for point in points}) > 1
    with house_style():
        path = (
            as_svg(regularisation_path(points, numbered, chosen_c=best.c), alt=_path_in_words(best))
            if is_path
            else None
        )
        drawn = as_svg(rounds(sparse.rounds, best_round=sparse.best_round), alt=_rounds_in_words(sparse.rounds))
    return WeightsView(
        sparse=sparse,
        best=best,
        kept=kept,
        negative=negative[:_MOST_SHOWN],
        num_more_negative=max(0, len(negative) - _MOST_SHOWN),
        dropped=tuple(_dropped(sparse.dropped, min_share=parameters.min_answered_share))[:_MOST_SHOWN],
        num_more_dropped=max(0, len(sparse.dropped) - _MOST_SHOWN),
        redundant=redundant_pairs(sparse.redundancy),
        side_by_side=None if sparse.stable is None else tuple(_side_by_side(kept, sparse.stable)),
        path=path,
        has_loss=any(point.loss is not None for point in sparse.path),
        rounds=drawn,
    )


def _bars(sparse: SparseSelection) -> tuple[tuple[WeightBar, ...], tuple[WeightBar, ...]]:
    """Of the kept criteria and of the negative ones, on one scale."""
    largest = max((abs(one.weight) for one in (*sparse.kept, *sparse.negative)), default=0.0) or 1.0

    def bars(criteria: Sequence[WeighedCriterion], prefix: str) -> tuple[WeightBar, ...]:
        return tuple(
            WeightBar(number=f"{prefix}{number}", criterion=one, length=abs(one.weight) / largest)
            for number, one in enumerate(criteria, start=1)
        )

    return bars(sparse.kept, ""), bars(sparse.negative, "n")


def _dropped(criteria: Sequence[WeighedCriterion], *, min_share: float) -> Iterator[Dropped]:
    for one in sorted(criteria, key=lambda one: one.answered_share):
        if one.answered_share == 0:
            reason = "never answered"
        elif one.answered_share < min_share:
            reason = f"answered for {share(one.answered_share)} of the pairs, less than {share(min_share)}"
        else:
            reason = f"answered for {share(one.answered_share)}, but others lack other pairs; with it, too few are left"
        yield Dropped(criterion=one, reason=reason)


def _side_by_side(kept: Sequence[WeightBar], stable: Sequence[WeighedCriterion]) -> Iterator[SideBySide]:
    """The Top-N, then what is stable and not in it."""
    weights = {one.id: one.weight for one in stable}
    for bar in kept:
        one = bar.criterion
        yield SideBySide(number=bar.number, criterion=one, top=one.weight, stable=weights.pop(one.id, None))
    for one in stable:
        if one.id in weights:
            yield SideBySide(number="", criterion=one, top=None, stable=one.weight)


def _path_in_words(best: LearningRound) -> str:
    return f"Weights over C; taken: C = {best.c:.3g}, with {best.num_nonzero} weights that are not 0"


def _rounds_in_words(rounds: Sequence[LearningRound]) -> str:
    told = (
        f"round {each.round}: scored pairs {share(each.train_accuracy)}, validation {share(each.validation_accuracy)}, "
        f"{each.misranked.total} ranked wrongly"
        for each in rounds
    )
    return "; ".join(told)
