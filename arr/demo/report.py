"""The demo's report: one self-contained HTML file, and the same plots as PNG beside it.

Rubric text and prompts are data: the template escapes them.
"""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from arr.demo.learning import NUM_PAIRS, LearnedRubric
from arr.demo.outcome import Outcome
from arr.demo.plots import NamedPlot, all_plots
from arr.demo.shapes import RESOLUTION, Pixels
from arr.reports.page import environment
from shared_schemas.reward import GroupResult, JudgeIdentity, Status
from trainer.config import TrainConfig
from trainer.export import usage_lines


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedPlot:
    """A plot as the template shows it."""

    name: str
    caption: str
    image: str
    """A data URL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownPair:
    """A base image and a tuned one, as data URLs."""

    prompt: str
    base: str
    tuned: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownVerdict:
    """One row of the table of verdicts."""

    prompt: str
    base: str
    tuned: str
    numbers: tuple[str, ...]
    """l₁₂, l₂₁, margin and position bias in nats, `–` for those that the judge does not give; empty = not judged."""
    winner: str
    verdict: str
    error: str


def write_report(
    output: Path,
    config: TrainConfig,
    outcome: Outcome,
    *,
    rubric: LearnedRubric,
    judge: JudgeIdentity,
) -> Path:
    """Write `report.html` and `plots/*.png` into `output`; returns the report's path."""
    template = environment(Path(__file__).parent).get_template("report.html.j2")
    html = template.render(
        config=config,
        outcome=outcome,
        last=outcome.last,
        num_pairs=len(outcome.last.pairs),
        rubric=rubric.version,
        proposals=rubric.result.proposals,
        measured=rubric.measured,
        num_labelled_pairs=NUM_PAIRS,
        judge=judge,
        plots=save_plots(all_plots(outcome), output / "plots"),
        disagreements=_disagreements(outcome),
        examples=[_shown_verdict(outcome, row) for row in range(len(outcome.prompts))],
        judge_wait_fraction=fmean(step["judge_wait_fraction"] for step in outcome.steps),
        usage=usage_lines(config, str(output / "adapter")),
    )
    report = output / "report.html"
    draft = output / ".report.html.draft"
    draft.write_text(html, encoding="utf-8")
    return draft.rename(report)


def save_example_pair(outcome: Outcome, folder: Path) -> None:
    """Write `base.png` and `tuned.png` of the first prompt, at the noise where the judge saw the largest difference."""
    folder.mkdir(parents=True, exist_ok=True)
    num_columns = outcome.last.right_RC.shape[1]
    margins = [sum(verdict.margin or 0.0 for verdict in pair.result.pairs) for pair in outcome.last.pairs[:num_columns]]
    column = int(np.argmax(np.abs(margins)))
    for name, grid in (("base", outcome.base_grid), ("tuned", outcome.last.grid)):
        Image.fromarray(grid_cell(grid, 0, column)).save(folder / f"{name}.png")


def save_plots(drawn: Iterable[NamedPlot], folder: Path) -> list[EmbeddedPlot]:
    """Write each plot as a PNG into `folder`; returns them as a page shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = []
    for name, caption, figure in drawn:
        figure.savefig(folder / f"{name}.png")
        plots.append(EmbeddedPlot(name=name, caption=caption, image=_data_url((folder / f"{name}.png").read_bytes())))
    return plots


def _disagreements(outcome: Outcome) -> list[ShownPair]:
    """Pairs whose tuned image the ground truth refuses although it accepts the base's, and the judge prefers it."""
    tuned_won_RC = np.array([pair.tuned_won for pair in outcome.last.pairs]).reshape(outcome.last.right_RC.shape)
    lost_RC = outcome.base_right_RC & ~outcome.last.right_RC & tuned_won_RC
    return [
        ShownPair(
            prompt=outcome.prompts[row],
            base=image_url(grid_cell(outcome.base_grid, row, column)),
            tuned=image_url(grid_cell(outcome.last.grid, row, column)),
        )
        for row, column in zip(*lost_RC.nonzero(), strict=True)
    ]


def grid_cell(grid: Pixels, row: int, column: int) -> Pixels:
    """One picture of an evaluation's grid."""
    top, left = row * RESOLUTION, column * RESOLUTION
    return grid[top : top + RESOLUTION, left : left + RESOLUTION]


def _shown_verdict(outcome: Outcome, row: int) -> ShownVerdict:
    num_columns = outcome.last.right_RC.shape[1]
    column = row % num_columns  # a diagonal through the grid shows many noises
    pair = outcome.last.pairs[row * num_columns + column]
    result = pair.result
    winner = "" if result.ranks is None else ("tuned", "base")[result.ranks.index(1)]
    return ShownVerdict(
        prompt=pair.prompt,
        base=image_url(grid_cell(outcome.base_grid, row, column)),
        tuned=image_url(grid_cell(outcome.last.grid, row, column)),
        numbers=_numbers(result),
        winner=winner,
        verdict=f"{winner} wins" if result.status is Status.SCORED else str(result.status),
        error=f"{result.error.type}: {result.error.detail}" if result.error else "",
    )


def _numbers(result: GroupResult) -> tuple[str, ...]:
    if not result.pairs:
        return ()
    margin, bias = result.pairs[0].margin, result.pairs[0].position_bias
    orders = (None, None) if margin is None or bias is None else (margin + bias, bias - margin)
    return tuple("–" if number is None else f"{number:+.2f}" for number in (*orders, margin, bias))


def image_url(image: Pixels) -> str:
    """A picture, uint8 [H, W, 3], as a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return _data_url(buffer.getvalue())


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
