import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arr.demo.flawed_shapes import Flaw, render_flawed
from arr.demo.ground_truth import GroundTruth, Verdicts, train_ground_truth
from arr.demo.shapes import DRAWINGS, PROMPTS, Pixels, render


@pytest.fixture(scope="module")
def truth() -> GroundTruth:
    """Trained for a tenth of the usual time: good enough to be right most of the time."""
    return train_ground_truth(seed=0, num_steps=120, num_drawings=1500)


@pytest.fixture(scope="module")
def drawn() -> Pixels:
    rng = np.random.default_rng(99)
    return np.stack([render(drawing, rng) for drawing in DRAWINGS for _ in range(4)])


REPEATED_PROMPTS = [prompt for prompt in PROMPTS for _ in range(4)]


def test_a_match_needs_the_shape_the_colour_and_a_clean_drawing() -> None:
    # Four looks at "a red square" (circle, square, triangle; red, green, …): all right, then one thing wrong in each.
    verdicts = Verdicts(
        shape=np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]], dtype=np.float32),
        colour=np.array([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=np.float32),
        clean=np.array([0.9, 0.9, 0.9, 0.4], dtype=np.float32),
    )
    assert verdicts.agree_with(["a red square"] * 4).tolist() == [True, False, False, False]


def test_clean_drawings_match_their_own_caption(truth: GroundTruth, drawn: Pixels) -> None:
    assert truth.matches(drawn, REPEATED_PROMPTS).mean() > 0.8


def test_no_drawing_matches_the_next_caption(truth: GroundTruth, drawn: Pixels) -> None:
    assert truth.matches(drawn, REPEATED_PROMPTS[4:] + REPEATED_PROMPTS[:4]).mean() < 0.1


def test_flawed_drawings_look_less_clean(truth: GroundTruth, drawn: Pixels) -> None:
    rng = np.random.default_rng(5)
    flawed = np.stack([render_flawed(drawing, flaw, rng) for flaw in Flaw for drawing in DRAWINGS])
    assert truth.verdicts(flawed).clean.mean() < truth.verdicts(drawn).clean.mean() - 0.3


def test_a_saved_ground_truth_answers_as_before(truth: GroundTruth, drawn: Pixels, tmp_path: Path) -> None:
    truth.save(tmp_path / "truth.safetensors")
    before, after = truth.verdicts(drawn), GroundTruth.load(tmp_path / "truth.safetensors").verdicts(drawn)
    assert np.array_equal(before.shape, after.shape)
    assert np.array_equal(before.colour, after.colour)
    assert np.array_equal(before.clean, after.clean)
    assert [path.name for path in tmp_path.iterdir()] == ["truth.safetensors"]


def test_equal_seeds_give_equal_answers(drawn: Pixels) -> None:
    first, again, other = (
        train_ground_truth(seed=seed, num_steps=4, num_drawings=64).verdicts(drawn).clean for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_progress_counts_every_step() -> None:
    seen: list[tuple[str, int, int]] = []
    train_ground_truth(seed=0, num_steps=2, num_drawings=64, progress=lambda *step: seen.append(step))
    assert seen == [("ground truth", 1, 2), ("ground truth", 2, 2)]


def test_the_ground_truth_loads_no_part_of_the_service() -> None:
    code = "import sys, arr.demo.ground_truth; print([name for name in sys.modules if name.startswith('services')])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
