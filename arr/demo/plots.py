"""The demo's plots. Each function returns a matplotlib figure and knows nothing of files.

Shape suffixes: R prompts, C noises.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arr.demo.outcome import Outcome
from arr.demo.shapes import RESOLUTION, Pixels
from arr.reports.drawing import FIRST, SECOND, SOFT, THIRD, house_style

matplotlib.use("Agg")

JUDGE, TRUTH, HELD_OUT = FIRST, SECOND, THIRD

NamedPlot: TypeAlias = tuple[str, str, Figure]
"""File name, caption, figure."""


def _figure(width: float, height: float, num_panels: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=130)
    return figure, list(figure.subplots(1, num_panels, squeeze=False)[0])


def learning_curve(outcome: Outcome) -> Figure:
    """Win rate by the judge and accuracy by the ground truth, over training."""
    figure, (judged, truth) = _figure(9.5, 3.4, 2)
    steps = _steps(outcome)
    low = [evaluation.overall.low for evaluation in outcome.evaluations]
    high = [evaluation.overall.high for evaluation in outcome.evaluations]
    judged.fill_between(steps, low, high, color=JUDGE, alpha=0.15, linewidth=0)
    win_rates = [evaluation.overall.win_rate for evaluation in outcome.evaluations]
    held_out = [evaluation.held_out.win_rate for evaluation in outcome.evaluations]
    _two_lines(judged, steps, win_rates, held_out, base=0.5, color=JUDGE)
    judged.set(title="The judge: win rate against the base", ylim=(0.3, 1.0))
    accuracies = [evaluation.accuracy for evaluation in outcome.evaluations]
    held_out = [evaluation.held_out_accuracy for evaluation in outcome.evaluations]
    _two_lines(truth, steps, accuracies, held_out, base=outcome.base_accuracy, color=TRUTH)
    truth.set(title="Ground truth: clean drawings of the prompt", ylim=(0.0, 1.0))
    return figure


def _steps(outcome: Outcome) -> list[int]:
    return [evaluation.step for evaluation in outcome.evaluations]


def _two_lines(
    axes: Axes, steps: list[int], overall: list[float], held_out: list[float], *, base: float, color: str
) -> None:
    """All prompts solid, held-out ones dashed, over a line at the base's value."""
    axes.axhline(base, color=SOFT, linewidth=1)
    axes.plot(steps, overall, color=color, marker="o", label="all prompts")
    axes.plot(steps, held_out, color=HELD_OUT, marker="o", linestyle="--", label="prompts never trained on")
    axes.set_xlabel("training step")
    axes.legend(loc="lower right")


def judge_against_truth(outcome: Outcome) -> Figure:
    """Where they part: over training, and pair by pair at the end."""
    figure, (over_time, table) = _figure(9.5, 3.4, 2)
    steps = _steps(outcome)
    over_time.axhline(0.0, color=SOFT, linewidth=1)
    over_time.plot(
        steps,
        [evaluation.overall.win_rate - 0.5 for evaluation in outcome.evaluations],
        color=JUDGE,
        marker="o",
        label="judge: win rate − 0.5",
    )
    over_time.plot(
        steps,
        [evaluation.accuracy - outcome.base_accuracy for evaluation in outcome.evaluations],
        color=TRUTH,
        marker="o",
        label="truth: accuracy − base",
    )
    over_time.set(title="Gain over the base", xlabel="training step")
    over_time.legend(loc="upper left")
    gained, lost = ~outcome.base_right_RC & outcome.last.right_RC, outcome.base_right_RC & ~outcome.last.right_RC
    rate = outcome.last.overall
    judge = [rate.wins, rate.ties, rate.losses]
    truth = [int(gained.sum()), int((~gained & ~lost).sum()), int(lost.sum())]
    positions = np.arange(3)
    table.bar(positions - 0.2, judge, width=0.4, color=JUDGE, label="judge")
    table.bar(positions + 0.2, truth, width=0.4, color=TRUTH, label="ground truth")
    table.set_xticks(positions, ["tuned is better", "no difference", "base is better"])
    table.set(title=f"The {len(outcome.last.pairs)} pairs of the last evaluation", ylabel="pairs")
    table.legend(loc="upper right")
    return figure


def time_per_phase(outcome: Outcome) -> Figure:
    """Seconds of every training step, stacked by phase."""
    figure, (axes,) = _figure(9.5, 2.6)
    seconds = [step["seconds"] for step in outcome.steps]
    steps = [step["step"] for step in outcome.steps]
    phases = ("sample", "judge_wait", "update")
    series = [[second[phase] for second in seconds] for phase in phases]
    labels = ("sample and decode", "wait for the judge", "update")
    axes.stackplot(steps, series, labels=labels, colors=(JUDGE, TRUTH, HELD_OUT), alpha=0.75)
    axes.set(title="Where the time of a step goes", xlabel="training step", ylabel="seconds", ylim=(0, None))
    axes.legend(loc="upper right", ncols=3)
    return figure


def signal(outcome: Outcome) -> Figure:
    """What there was to learn from: scored and tied groups, and how sure the judge was."""
    figure, (groups, margins) = _figure(9.5, 2.8, 2)
    verdicts = [step["verdicts"] for step in outcome.steps]
    steps = [step["step"] for step in outcome.steps]
    series = [[verdict[status] for verdict in verdicts] for status in ("scored", "tied", "failed")]
    groups.stackplot(steps, series, labels=("scored", "tied", "failed"), colors=(JUDGE, SOFT, "#c0392b"), alpha=0.75)
    groups.set(title="Groups per step", xlabel="training step")
    groups.legend(loc="upper right", ncols=3, frameon=True)
    margins.plot(steps, [verdict["mean_abs_margin"] for verdict in verdicts], color=JUDGE)
    margins.set(title="Mean |margin| of the judge, nats", xlabel="training step", ylim=(0, None))
    return figure


def before_after(outcome: Outcome, *, num_columns: int = 6) -> Figure:
    """Base on the left, tuned on the right, from the same noises; a green bar under what the ground truth accepts."""
    num_columns = min(num_columns, outcome.base_right_RC.shape[1])
    figure, panels = _figure(9.5, 10.5, 2)
    for axes, grid, right_RC, title in (
        (panels[0], outcome.base_grid, outcome.base_right_RC, "Before"),
        (panels[1], outcome.last.grid, outcome.last.right_RC, f"After {outcome.last.step} steps"),
    ):
        _draw_grid(axes, grid, right_RC[:, :num_columns])
        axes.set_title(title)
    labels = [
        f"{prompt} *" if held_out else prompt
        for prompt, held_out in zip(outcome.prompts, outcome.held_out, strict=True)
    ]
    panels[0].set_yticks([_CELL * row + RESOLUTION / 2 for row in range(len(labels))], labels)
    panels[1].set_yticks([])
    figure.supxlabel("* never trained on.   Green bar: a clean drawing of the prompt, by ground truth.", fontsize=9)
    return figure


_CELL = RESOLUTION + 5
"""Pixels from one image of a grid to the next."""


def _draw_grid(axes: Axes, grid: Pixels, right_RC: Any) -> None:
    num_rows, num_columns = right_RC.shape
    canvas = np.full((num_rows * _CELL, num_columns * _CELL, 3), 255, np.uint8)
    for row in range(num_rows):
        for column in range(num_columns):
            top, left = row * _CELL, column * _CELL
            image = grid[row * RESOLUTION :, column * RESOLUTION :][:RESOLUTION, :RESOLUTION]
            canvas[top : top + RESOLUTION, left : left + RESOLUTION] = image
            if right_RC[row, column]:
                canvas[top + RESOLUTION + 1 : top + RESOLUTION + 3, left : left + RESOLUTION] = (46, 160, 67)
    axes.imshow(canvas, interpolation="nearest")
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)


def all_plots(outcome: Outcome) -> Sequence[NamedPlot]:
    """In the order of the report."""
    with house_style():
        return (
            ("learning_curve", "The reward curve: judge and ground truth over training", learning_curve(outcome)),
            ("before_after", "The same prompts and noises, before and after", before_after(outcome)),
            ("judge_against_truth", "Where judge and ground truth part", judge_against_truth(outcome)),
            ("signal", "What there was to learn from", signal(outcome)),
            ("time_per_phase", "Where the time goes", time_per_phase(outcome)),
        )
