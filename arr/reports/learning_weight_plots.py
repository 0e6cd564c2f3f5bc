"""Plots of weights: the regularisation path, and what each round achieved. Each function returns a figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from arr.reports.drawing import FIRST, INK, MUTED, SECOND, SOFT, THIRD, new_figure
from shared_schemas.autorubric import LearningRound, PathPoint

_WIDTH = 9.5
_MOST_LABELS = 12
"""Lines of one colour with a number at their end; more could not be read."""
_MOST_TICKS = 12
"""Rounds with their number below."""
_HEADROOM = 2.2
"""Largest weight that is drawn, in weights at the chosen strength: weak penalties let weights grow without bound."""
_BUCKETS = (
    (FIRST, "small_margin", "nearly right"),
    (SECOND, "large_margin", "clearly wrong"),
    (THIRD, "high_reward", "both score high"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberedCriterion:
    """A criterion by its number in the page's lists; negative ones have an `n` before it."""

    number: str
    id: str


def regularisation_path(path: Sequence[PathPoint], criteria: Sequence[NumberedCriterion], *, chosen_c: float) -> Figure:
    """Weights over C, the chosen one marked; below it, where it was tried, the loss of left-out pairs."""
    points = [point for point in path if point.c > 0]  # less than what is told of it cannot be drawn
    has_loss = any(point.loss is not None for point in points)
    if has_loss:
        figure, panels = new_figure(_WIDTH, 6.0, rows=2, sharex=True, height_ratios=[1.9, 1])
        _draw_loss(panels[1], points)
    else:
        figure, panels = new_figure(_WIDTH, 3.9)
    _draw_weights(panels[0], points, criteria, chosen_c=chosen_c)
    ends = [chosen_c, *(point.c for point in points)]
    for axes in panels:
        axes.axvline(chosen_c, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.set_xscale("log")
        axes.set_xlim(min(ends), max(ends))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda c, _: f"{c:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    panels[-1].set_xlabel("C: the further right, the weaker the penalty")
    _count_weights(panels[0], points)
    return figure


def rounds(rounds: Sequence[LearningRound], *, best_round: int) -> Figure:
    """Accuracy of every round, and the pairs ranked wrongly by kind, beside those that the next one was written for."""
    figure, [left, right] = new_figure(_WIDTH, 3.4, columns=2, width_ratios=[1, 1.25])
    _draw_accuracies(left, rounds, best_round=best_round)
    _draw_buckets(right, rounds)
    room = 0.6 if len(rounds) > 1 else 1.6  # a single round is no wider than one of several
    for axes in (left, right):
        axes.set_xlabel("round")
        axes.set_xticks([each.round for each in rounds][:: math.ceil(len(rounds) / _MOST_TICKS)])
        axes.set_xlim(rounds[0].round - room, rounds[-1].round + room)
    return figure


def _draw_weights(
    axes: Axes, points: Sequence[PathPoint], criteria: Sequence[NumberedCriterion], *, chosen_c: float
) -> None:
    strengths = [point.c for point in points]
    listed = {criterion.id for criterion in criteria}
    others = sorted({name for point in points for name in point.weights} - listed)
    axes.axhline(0, color=SOFT, linewidth=1, zorder=0)
    for name in others:
        axes.plot(strengths, _along(points, name), color=MUTED, linewidth=0.9, alpha=0.7)
    for criterion in reversed(criteria):
        colour = SECOND if criterion.number.startswith("n") else FIRST
        axes.plot(strengths, _along(points, criterion.id), color=colour, linewidth=1.4, alpha=0.85)
    low, high = _limits(points, chosen_c=chosen_c)
    axes.set_ylim(low, high)
    axes.set_ylabel("weight")
    against = [criterion for criterion in criteria if criterion.number.startswith("n")]
    kept = [criterion for criterion in criteria if criterion not in against]
    labelled = (*kept[:_MOST_LABELS], *against[: _MOST_LABELS // 2])
    _label_ends(axes, points[-1], labelled, low=low, high=high)


def _limits(points: Sequence[PathPoint], *, chosen_c: float) -> tuple[float, float]:
    """Of the weights that are drawn: all, unless they grow far beyond those at the chosen strength."""
    chosen = min(points, key=lambda point: abs(np.log(point.c / chosen_c)))
    drawn = [weight for point in points for weight in point.weights.values()]
    largest, smallest = max(drawn, default=0.0), min(drawn, default=0.0)
    bound = _HEADROOM * max((abs(weight) for weight in chosen.weights.values()), default=np.inf)
    high, low = min(max(largest, 0.0), bound), max(min(smallest, 0.0), -bound)
    margin = 0.06 * (high - low or 1.0)
    return low - margin, high + margin


def _label_ends(axes: Axes, end: PathPoint, criteria: Sequence[NumberedCriterion], *, low: float, high: float) -> None:
    """Numbers right of the lines' ends, moved apart where they would cover each other."""
    gap = (high - low) / 20
    heights = {one.number: min(max(end.weights.get(one.id, 0.0), low), high) for one in criteria}
    ends = sorted(criteria, key=lambda one: -heights[one.number])
    for one, height in zip(ends, _apart([heights[one.number] for one in ends], gap=gap, top=high), strict=True):
        colour = SECOND if one.number.startswith("n") else FIRST
        axes.annotate(
            one.number,
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8.5,
            va="center",
            annotation_clip=False,
        )


def _apart(heights: Sequence[float], *, gap: float, top: float) -> list[float]:
    """Descending `heights`, each at least `gap` below the one before; pushed up again where that leads too far down."""
    placed: list[float] = []
    for height in heights:
        placed.append(min(height, placed[-1] - gap if placed else top))
    shift = max(0.0, (heights[-1] if heights else 0.0) - (placed[-1] if placed else 0.0)) / 2
    return [height + shift for height in placed]


def _count_weights(axes: Axes, points: Sequence[PathPoint]) -> None:
    """Along the top: how many criteria have a weight."""
    shown = points[:: max(1, len(points) // 8)]
    above = axes.secondary_xaxis("top")
    above.set_xticks([point.c for point in shown], [str(point.num_nonzero) for point in shown], color=MUTED)
    above.xaxis.set_minor_locator(NullLocator())
    above.xaxis.set_minor_formatter(NullFormatter())
    above.tick_params(length=0)
    above.spines["top"].set_visible(False)
    above.set_xlabel("criteria with a weight", color=MUTED, fontsize=8.5)


def _draw_loss(axes: Axes, points: Sequence[PathPoint]) -> None:
    known = [(point.c, point.loss, point.standard_error or 0.0) for point in points if point.loss is not None]
    strengths, loss, error = (np.array(column) for column in zip(*known, strict=True))
    axes.fill_between(strengths, loss - error, loss + error, color=FIRST, alpha=0.18, linewidth=0)
    axes.plot(strengths, loss, color=FIRST, linewidth=1.4, marker="o", markersize=3)
    best = int(np.argmin(loss))
    axes.axhline(loss[best] + error[best], color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    axes.set_ylabel("loss of left-out pairs, nats")


def _draw_accuracies(axes: Axes, rounds: Sequence[LearningRound], *, best_round: int) -> None:
    numbers = [each.round for each in rounds]
    axes.plot(numbers, [each.train_accuracy for each in rounds], color=FIRST, marker="o", label="scored pairs")
    checked = [(each.round, each.validation_accuracy) for each in rounds if each.validation_accuracy is not None]
    if checked:
        axes.plot(*zip(*checked, strict=True), color=SECOND, marker="o", label="validation")
    axes.axvline(best_round, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    lowest = min([0.5, *(each.train_accuracy for each in rounds), *(value for _, value in checked)])
    axes.set_ylim(lowest - 0.04, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_title("Ranked as people do", pad=26)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0.1)


def _draw_buckets(axes: Axes, rounds: Sequence[LearningRound]) -> None:
    numbers = np.array([each.round for each in rounds], dtype=float)
    floors = {"misranked": np.zeros(len(rounds)), "drawn": np.zeros(len(rounds))}
    for colour, field, label in _BUCKETS:
        for which, shift, width, alpha in (("misranked", -0.19, 0.34, 1.0), ("drawn", 0.19, 0.26, 0.5)):
            counts = np.array([getattr(getattr(each, which), field) for each in rounds])
            named = label if which == "misranked" else None
            axes.bar(numbers + shift, counts, width, bottom=floors[which], color=colour, alpha=alpha, label=named)
            floors[which] += counts
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, 1.08 * max(1.0, *floors["misranked"]))
    axes.set_title("Ranked wrongly; pale: drawn for the next round", pad=26)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderaxespad=0.1)


def _along(points: Sequence[PathPoint], name: str) -> list[float]:
    return [point.weights.get(name, 0.0) for point in points]
