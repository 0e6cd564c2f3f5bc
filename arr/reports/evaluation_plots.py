"""Plots of an evaluation. Each function returns a matplotlib figure and knows nothing of files."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from arr.reports.drawing import FIRST, INK, MUTED, SECOND, SOFT, THIRD, new_figure
from arr.reports.figures import called, is_none
from shared_schemas.evaluations import Estimate, RubricReport

_WIDTH = 9.5
_LONGEST_NAME = 30
_PER_ROW = 4
"""Reliability diagrams side by side."""
_BARS = ((FIRST, "both orders averaged"), (SECOND, "better image shown first"), (THIRD, "better image shown second"))


def orders(rubrics: Sequence[RubricReport]) -> Figure:
    """Accuracy of every rubric: both orders averaged, and either alone; beside it what the place alone decides."""
    with_orders = any(rubric.first_share is not None for rubric in rubrics)
    height = 1.3 + 0.62 * len(rubrics)
    layout: dict[str, Any] = {"columns": 2, "width_ratios": [1.7, 1], "sharey": True} if with_orders else {}
    figure, panels = new_figure(_WIDTH, height, **layout)
    _draw_accuracies(panels[0], rubrics, with_orders=with_orders)
    if with_orders:
        _draw_first_shares(panels[1], rubrics)
        handles = [Patch(color=colour, label=label) for colour, label in _BARS]
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure


def reliability(rubrics: Sequence[RubricReport]) -> Figure:
    """Confidence against accuracy, a panel for every rubric; on the diagonal, confidence means what it says."""
    columns = min(_PER_ROW, len(rubrics))
    rows = math.ceil(len(rubrics) / columns)
    figure, panels = new_figure(_WIDTH / _PER_ROW * columns, 2.4 * rows, rows=rows, columns=columns, sharey=True)
    for axes, rubric in zip(panels, rubrics, strict=False):
        _draw_reliability(axes, rubric)
    lowest = min([0.5, *(each.accuracy for rubric in rubrics for each in rubric.bins if each.num_pairs)])
    panels[0].set_ylim(lowest - 0.05, 1.02 + 0.25 * (1 - lowest))  # room for a line of text above 100 %
    figure.supxlabel("confidence", fontsize=9.5)
    figure.supylabel("agrees with people", fontsize=9.5)
    for axes in panels[len(rubrics) :]:
        axes.set_visible(False)
    return figure


def _draw_accuracies(axes: Axes, rubrics: Sequence[RubricReport], *, with_orders: bool) -> None:
    places = np.arange(len(rubrics))
    axes.axvline(0.5, color=SOFT, linewidth=1, zorder=0)
    colours = [_colour(rubric) for rubric in rubrics]
    averaged = [rubric.accuracy.value for rubric in rubrics]
    height, shift = (0.3, 0.22) if with_orders else (0.5, 0.0)
    axes.barh(places - shift, averaged, height=height, color=colours)
    _whiskers(axes, places - shift, [rubric.accuracy for rubric in rubrics])
    if with_orders:
        for offset, colour, each in (
            (0.06, SECOND, [rubric.forward for rubric in rubrics]),
            (0.26, THIRD, [rubric.reverse for rubric in rubrics]),
        ):
            values = [0.0 if estimate is None else estimate.value for estimate in each]
            axes.barh(places + offset, values, height=0.17, color=colour)
    for place, rubric in zip(places, rubrics, strict=True):
        axes.text(1.02, place - shift, f"{100 * rubric.accuracy.value:.1f} %", va="center", fontweight="bold")
    _name_rows(axes, rubrics)
    axes.set(title="Accuracy", xlim=(0, 1.14))
    _percent(axes)


def _draw_first_shares(axes: Axes, rubrics: Sequence[RubricReport]) -> None:
    axes.axvline(0.5, color=SOFT, linewidth=1, zorder=0)
    for place, rubric in enumerate(rubrics):
        share = rubric.first_share
        if share is not None:
            colour = _colour(rubric)
            axes.plot([share.low, share.high], [place, place], color=colour, linewidth=2)
            axes.plot([share.value], [place], color=colour, marker="o", markersize=6)
    axes.tick_params(axis="y", left=False)
    axes.set(title="Names the image shown first", xlim=(0, 1.02))
    _percent(axes)


def _draw_reliability(axes: Axes, rubric: RubricReport) -> None:
    colour = _colour(rubric)
    axes.plot([0.5, 1], [0.5, 1], color=SOFT, linewidth=1)
    bins = [each for each in rubric.bins if each.num_pairs]
    largest = max((each.num_pairs for each in bins), default=1)
    confidences, accuracies = [each.confidence for each in bins], [each.accuracy for each in bins]
    axes.plot(confidences, accuracies, color=colour, linewidth=1.2, alpha=0.6)
    sizes = [12 + 90 * each.num_pairs / largest for each in bins]
    axes.scatter(confidences, accuracies, s=sizes, color=colour, linewidths=0)
    axes.set_title(short_name(rubric, 20), fontsize=9.5)
    error = "" if rubric.ece is None else f"calibration error {rubric.ece:.3f}"
    axes.text(0.03, 0.98, error, transform=axes.transAxes, va="top", fontsize=8.5)
    axes.set_xlim(0.48, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xticks([0.6, 0.8, 1.0])
    axes.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])


def _whiskers(axes: Axes, places: Iterable[float], estimates: Sequence[Estimate]) -> None:
    for place, estimate in zip(places, estimates, strict=True):
        axes.plot([estimate.low, estimate.high], [place, place], color=INK, linewidth=1.2)


def _name_rows(axes: Axes, rubrics: Sequence[RubricReport]) -> None:
    axes.set_yticks(range(len(rubrics)), [short_name(rubric, _LONGEST_NAME) for rubric in rubrics])
    axes.set_ylim(len(rubrics) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _percent(axes: Axes) -> None:
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def _colour(rubric: RubricReport) -> str:
    return MUTED if is_none(rubric) else FIRST


def short_name(rubric: RubricReport, longest: int) -> str:
    """`name@3`, the middle of a long name left out."""
    name = called(rubric)
    if len(name) <= longest:
        return name
    return f"{name[: longest // 2]}…{name[-(longest // 2 - 1) :]}"
