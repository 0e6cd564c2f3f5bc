"""The example's report: one self-contained HTML file, its plots as PNG beside it.

Criteria and prompts are data: the template escapes them.
"""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from arr.demo.outcome import Outcome
from arr.demo.plots import HELD_OUT, JUDGE, NamedPlot, before_after, judge_against_truth, learning_curve, signal
from arr.demo.report import grid_cell, image_url, save_plots
from arr.reports.drawing import SOFT, house_style, new_figure
from arr.reports.page import environment
from examples.autorubric_t2i.gains import Gains, Target
from examples.autorubric_t2i.learning import NUM_PAIRS, LearnedSet
from shared_schemas.reward import JudgeIdentity
from trainer.config import TrainConfig
from trainer.export import usage_lines


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """Everything that the report tells."""

    config: TrainConfig
    learned: LearnedSet
    judge: JudgeIdentity
    outcome: Outcome
    gains: Gains
    targets: tuple[Target, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownScores:
    """One prompt at one noise: two pictures and their scores, as shares of the highest score."""

    prompt: str
    base: str
    tuned: str
    base_score: float | None
    tuned_score: float | None


def write_example_report(output: Path, finished: Finished) -> Path:
    """Write `report.html` and `plots/*.png` into `output`; returns the page's path."""
    outcome = finished.outcome
    html = environment(Path(__file__).parent).get_template("report.html.j2").render(
        finished=finished,
        config=finished.config,
        last=outcome.last,
        outcome=outcome,
        score=finished.gains.scores[-1],
        version=finished.learned.version,
        result=finished.learned.result,
        num_labelled_pairs=NUM_PAIRS,
        plots=save_plots(_plots(finished), output / "plots"),
        examples=[_shown(finished, row) for row in range(len(outcome.prompts))],
        usage=usage_lines(finished.config, str(output / "adapter")),
    )  # fmt: skip
    draft = output / ".report.html.draft"
    draft.write_text(html, encoding="utf-8")
    return draft.rename(output / "report.html")


def score_curve(gains: Gains) -> Figure:
    """Mean score of tuned and base pictures over training, and their difference with its interval."""
    figure, (means, difference) = new_figure(9.5, 3.2, columns=2)
    steps = [point.step for point in gains.scores]
    means.plot(steps, [point.tuned for point in gains.scores], color=JUDGE, marker="o", label="tuned")
    means.plot(steps, [point.base for point in gains.scores], color=HELD_OUT, linestyle="--", label="base")
    means.set(title="Mean score, share of the highest there is", xlabel="training step")
    means.legend(loc="lower right")
    low, high = [point.gain.low for point in gains.scores], [point.gain.high for point in gains.scores]
    difference.axhline(0.0, color=SOFT, linewidth=1)
    difference.fill_between(steps, low, high, color=JUDGE, alpha=0.15, linewidth=0)
    difference.plot(steps, [point.gain.value for point in gains.scores], color=JUDGE, marker="o")
    difference.set(title="Tuned − base, 95 % interval", xlabel="training step")
    return figure


def _plots(finished: Finished) -> tuple[NamedPlot, ...]:
    outcome = finished.outcome
    with house_style():
        return (
            ("score_curve", "The score over training", score_curve(finished.gains)),
            ("learning_curve", "Wins by score, and the ground truth", learning_curve(outcome)),
            ("before_after", "The same prompts and noises, before and after", before_after(outcome)),
            ("judge_against_truth", "Where score and ground truth part", judge_against_truth(outcome)),
            ("signal", "What there was to learn from", signal(outcome)),
        )


def _shown(finished: Finished, row: int) -> ShownScores:
    outcome = finished.outcome
    num_columns = outcome.last.right_RC.shape[1]
    column = row % num_columns  # a diagonal through the grid shows many noises
    pair = outcome.last.pairs[row * num_columns + column]
    tuned, base = pair.result.scores or (None, None)
    highest = finished.learned.total_weight
    return ShownScores(
        prompt=pair.prompt,
        base=image_url(grid_cell(outcome.base_grid, row, column)),
        tuned=image_url(grid_cell(outcome.last.grid, row, column)),
        base_score=None if base is None else base / highest,
        tuned_score=None if tuned is None else tuned / highest,
    )
