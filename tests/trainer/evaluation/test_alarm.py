import json
from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation.alarm import LEVEL, Opinions, alarm, change_since_best, liked_best, sign_flip_p_value
from trainer.records import AlarmRecord


def _opinions(step: int, training: list[float], held_out: list[float]) -> Opinions:
    """One noise per prompt."""
    return Opinions(step=step, training_RC=np.array([training]).T, held_out_RC=np.array([held_out]).T)


def _flips(
    step: int, *, training: float, held_out: float, rng: np.random.Generator, shape: tuple[int, int]
) -> Opinions:
    """Two judges that flip coins of their own for every pair."""
    training_RC = (rng.random(shape) < training).astype(float)
    return Opinions(step=step, training_RC=training_RC, held_out_RC=(rng.random(shape) < held_out).astype(float))


def _first_ring(history: list[Opinions]) -> AlarmRecord | None:
    rings = (alarm(history[:count]) for count in range(1, len(history) + 1))
    return next((ring for ring in rings if ring is not None), None)


def test_the_p_value_is_the_share_of_sign_patterns_with_at_least_the_observed_sum() -> None:
    assert sign_flip_p_value(np.array([1.0, 1.0, 1.0])) == 1 / 8
    assert sign_flip_p_value(np.array([3.0, 1.0, -1.0])) == 3 / 8  # sums of 3 or more: 5, 3 and 3
    assert sign_flip_p_value(np.array([-1.0])) == 1.0
    assert sign_flip_p_value(np.zeros(20)) == 1.0


def test_many_prompts_have_the_p_value_of_the_exact_test_in_all_but_a_little() -> None:
    values = np.array([1.0] * 14 + [-1.0] * 6)
    exact = (38760 + 15504 + 4845 + 1140 + 190 + 20 + 1) / 2**20  # no more than 6 of 20 coins show tails
    assert sign_flip_p_value(values) == pytest.approx(exact, abs=0.01)


def test_the_change_is_measured_from_the_first_evaluation_that_the_held_out_judge_liked_best() -> None:
    history = [
        _opinions(0, [0.5, 0.5], [0.5, 0.5]),
        _opinions(10, [1.0, 0.5], [1.0, 0.5]),
        _opinions(20, [0.5, 1.0], [0.5, 1.0]),
        _opinions(30, [1.0, 1.0], [0.0, 0.5]),
    ]
    change = change_since_best(history)
    assert (change.since, change.step) == (10, 30)
    assert change.rise_R.tolist() == [0.0, 0.5]
    assert change.fall_R.tolist() == [1.0, 0.0]


def test_a_pair_that_a_judge_failed_on_leaves_the_comparison_for_both_judges() -> None:
    before, now = _opinions(0, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]), _opinions(10, [1.0, np.nan, 1.0], [0.0, 0.0, np.nan])
    change = change_since_best([before, now])
    assert (change.rise_R.tolist(), change.fall_R.tolist()) == ([1.0], [1.0])


def test_the_best_step_is_the_first_that_the_held_out_judge_liked_most_and_above_the_base() -> None:
    fresh = _opinions(0, [0.5] * 4, [0.5] * 4)
    worse = _opinions(10, [1.0] * 4, [0.0, 0.0, 0.5, 1.0])
    better, as_good = (_opinions(step, [1.0] * 4, [1.0, 1.0, 1.0, 0.5]) for step in (20, 30))
    assert liked_best([]) is None
    assert liked_best([fresh]) is None  # as good as the base is not better
    assert liked_best([worse]) is None
    assert liked_best([fresh, worse, better, as_good]) == 20
    assert liked_best([fresh, better, _opinions(40, [1.0] * 4, [np.nan] * 4)]) == 20


def test_a_few_pairs_that_were_all_won_are_no_better_than_many_that_mostly_were() -> None:
    few = _opinions(10, [1.0] * 20, [1.0] + [np.nan] * 19)
    many = _opinions(20, [1.0] * 20, [1.0] * 19 + [0.0])
    assert liked_best([few]) == 10
    assert liked_best([few, many]) == 20


def _series(training: list[float], held_out: list[float], *, num_prompts: int = 10) -> list[Opinions]:
    """All prompts alike."""
    rates = zip(training, held_out, strict=True)
    return [_opinions(10 * n, [one] * num_prompts, [other] * num_prompts) for n, (one, other) in enumerate(rates)]


@pytest.mark.parametrize(
    ("training", "held_out", "rings_at"),
    [
        pytest.param([0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.5, 0.4], 30, id="one rises, the other falls"),
        pytest.param([0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.6, 0.6], 30, id="one rises, the other stays"),
        pytest.param([0.5, 0.6, 0.6, 0.6], [0.5, 0.6, 0.5, 0.4], 30, id="one stays, the other falls"),
        pytest.param([0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.8], None, id="both rise"),
        pytest.param([0.5, 0.6, 0.9, 0.9], [0.5, 0.51, 0.52, 0.53], None, id="both rise, at different speeds"),
        pytest.param([0.5, 0.7, 0.6, 0.5], [0.5, 0.7, 0.4, 0.3], None, id="both fall"),
        pytest.param([0.5, 0.6, 0.6, 0.6], [0.5, 0.6, 0.6, 0.6], None, id="both stay"),
        pytest.param([0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.5, 0.7], None, id="one bad evaluation"),
    ],
)
def test_the_alarm_rings_when_the_judges_part_twice_in_a_row(
    training: list[float], held_out: list[float], rings_at: int | None
) -> None:
    ring = _first_ring(_series(training, held_out))
    assert (ring and ring.step) == rings_at


def test_the_alarm_says_since_when_and_how_far() -> None:
    ring = _first_ring(_series([0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.5, 0.4]))
    assert ring is not None
    assert ring.since_step == 10
    assert ring.training_change == pytest.approx(0.2)
    assert ring.held_out_change == pytest.approx(-0.2)
    assert ring.p_value == 2**-10


def test_an_evaluation_that_the_held_out_judge_failed_on_altogether_does_not_silence_the_alarm() -> None:
    parting = _series([0.5, 0.7, 0.9], [0.5, 0.4, 0.3])
    nothing = _opinions(-10, [0.5] * 10, [np.nan] * 10)
    assert alarm(parting) is not None
    assert alarm([nothing, *parting]) == alarm(parting)


def test_seven_prompts_are_too_few_for_any_alarm() -> None:
    assert _first_ring(_series([0.0, 0.0, 1.0, 1.0], [0.5, 1.0, 0.0, 0.0], num_prompts=7)) is None
    assert _first_ring(_series([0.0, 0.0, 1.0, 1.0], [0.5, 1.0, 0.0, 0.0], num_prompts=8)) is not None
    assert 2**-8 < LEVEL < 2**-7


@pytest.mark.parametrize(("shape", "rise"), [((15, 12), 0.0), ((15, 12), 0.3), ((60, 1), 0.0)])
def test_judges_that_flip_equal_coins_ring_it_in_less_than_one_run_of_twenty(
    shape: tuple[int, int], rise: float
) -> None:
    rng = np.random.default_rng(0)
    rings = 0
    for _ in range(100):
        rates = np.linspace(0.5, 0.5 + rise, 10)
        history = [_flips(n, training=rate, held_out=rate, rng=rng, shape=shape) for n, rate in enumerate(rates)]
        rings += _first_ring(history) is not None
    assert rings < 5  # docs/training.md has what longer simulations gave


def test_coins_that_part_ring_it_in_most_runs() -> None:
    rng = np.random.default_rng(0)
    rings = 0
    for _ in range(30):
        training, held_out = np.linspace(0.5, 0.9, 10), [0.5, 0.55, 0.6, 0.65, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4]
        coins = enumerate(zip(training, held_out, strict=True))
        history = [_flips(n, training=one, held_out=other, rng=rng, shape=(15, 12)) for n, (one, other) in coins]
        rings += _first_ring(history) is not None
    assert rings > 27


RECORDED = Path(__file__).with_name("recorded_runs.json")
"""Half-wins of 12 pairs per prompt, at every evaluation of the two runs in docs/experiments.md."""


@pytest.mark.parametrize(("run", "rings_at"), [("vivid colours only", 40), ("the demo", None)])
def test_it_rings_for_the_run_that_cheats_and_not_for_the_demo(run: str, rings_at: int | None) -> None:
    history = [
        Opinions(
            step=evaluation["step"],
            training_RC=np.array([evaluation["training"]]).T / 24,
            held_out_RC=np.array([evaluation["held_out"]]).T / 24,
        )
        for evaluation in json.loads(RECORDED.read_text())[run]
    ]
    ring = _first_ring(history)
    assert (ring and ring.step) == rings_at
