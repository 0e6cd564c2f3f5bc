"""Figures from made-up opinions: what each is by hand, and what must not change them."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.questions import JudgeFailure
from services.rubric_worker.evaluation.asking import Rating, ShownImage
from services.rubric_worker.evaluation.intervals import wilson
from services.rubric_worker.evaluation.judged import Judged
from services.rubric_worker.evaluation.opinions import Opinion, Outcome
from services.rubric_worker.evaluation.options import EvaluationOptions
from services.rubric_worker.evaluation.report import reports
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.labelled_pairs import ImagePair, Label, LabelledPair
from shared_schemas.evaluations import RubricReport, Usage
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import Criterion, RubricContent, RubricIdentity, Task

DATASET = f"sha256:{1:064x}"
OPTIONS = EvaluationOptions(dataset=DATASET, tie_margin=0.05)
NONE = RubricContent(task=Task.T2I)
ONE = RubricContent(task=Task.T2I, criteria=(Criterion(id="a", theme="A"), Criterion(id="b", theme="B")))
NOTHING = Usage(judge_calls=0, cached_answers=0, tokens=0, seconds=0.0, calls_per_pair=2.0)
OFF_TOPIC = JudgeFailure(type=FailureType.JUDGE_OFF_TOPIC, detail="scripted")


def pair(label: Label, prompt: str = "a cat", number: int = 0) -> LabelledPair:
    return LabelledPair(
        pair=ImagePair(prompt=prompt, first=f"first {number}", second=f"second {number}", source=None),
        label=label,
        row=str(number),
    )


def opinion(l_xy: float, l_yx: float) -> Opinion:
    """From the log-odds of "the image shown first" in both orders, nats."""
    margin = (l_xy - l_yx) / 2
    named_first, named_second = ((1.0 if odds > 0 else 0.0 if odds < 0 else 0.5) for odds in (l_xy, l_yx))
    return Opinion(
        preferred=1 if margin > 0 else -1 if margin < 0 else 0,
        margin=margin,
        names_shown_first=(named_first, named_second),
        consistent=named_first + named_second == 1,
    )


def judged(outcomes: Sequence[Outcome], content: RubricContent = NONE) -> Judged:
    return Judged(
        identity=RubricIdentity(name="x", version=1 if content.criteria else None, digest=content.digest),
        content=content,
        tie_margin=0.05,
        outcomes=outcomes,
        again=None,
        ratings={},
        injected=None,
        usage=NOTHING,
    )


def report(labelled: Sequence[LabelledPair], one: Judged) -> RubricReport:
    [found] = reports(labelled, [one], OPTIONS)
    return found


FOUR = [pair(1, "a cat", 1), pair(-1, "A  cat ", 2), pair(1, "a dog", 3), pair(0, "a fox", 4)]


def test_accuracy_and_order_by_hand() -> None:
    # Right by 2 nats; right by 1 under a bias of 3; a tie, 0.02 under a bias of 3; a preference where people see none.
    found = report(FOUR, judged([opinion(2, -2), opinion(2, 4), opinion(3.02, 2.98), opinion(1, -1)]))
    assert found.num_pairs == 3
    assert (found.accuracy.value, found.abstain_rate) == pytest.approx((2.5 / 3, 1 / 3))
    assert found.forward is not None
    assert found.reverse is not None
    # Preferred image first: named, named, named. Preferred image second: named, not named, not named.
    assert (found.forward.value, found.reverse.value) == pytest.approx((1.0, 1 / 3))
    assert found.position_gap == pytest.approx(2 / 3)
    assert found.first_share is not None
    assert found.first_share.value == 6 / 8  # 1 + 0, 1 + 1, 1 + 1, 1 + 0
    assert found.consistency is not None
    assert (found.consistency.value, found.accuracy_if_consistent) == (0.5, 1.0)
    assert found.tie_accuracy == 0.5  # the first two
    assert found.calibration is not None
    assert (found.calibration.num_pairs, found.calibration.dataset) == (3, DATASET)


def test_prompts_that_differ_in_blanks_and_case_are_drawn_together() -> None:
    together = [pair(1, "a cat", 1), pair(1, " A cat", 2)]
    found = report(together, judged([opinion(1, -1), opinion(-1, 1)]))
    assert found.accuracy.low == pytest.approx(0.5 / 4.8415, abs=1e-4)  # half of 1 / (1 + z²): of one prompt


def test_failed_pairs_are_counted_by_their_reason_and_are_in_no_other_number() -> None:
    found = report(FOUR, judged([opinion(2, -2), OFF_TOPIC, OFF_TOPIC, OFF_TOPIC]))
    assert (found.num_pairs, found.num_failed, found.failures) == (1, 3, {"judge-off-topic": 3})
    assert found.accuracy.value == 1.0
    assert found.tie_accuracy is None  # the only tie has failed


def test_without_any_judged_preference_there_is_no_report() -> None:
    with pytest.raises(JobFailedError) as caught:
        report(FOUR, judged([OFF_TOPIC, OFF_TOPIC, OFF_TOPIC, opinion(1, -1)]))
    assert caught.value.reason == "too-many-failures"
    assert caught.value.evidence == {"failures": {"judge-off-topic": 3}}


def test_a_judge_that_only_chooses_has_an_accuracy_and_no_confidence() -> None:
    chosen = [replace(opinion(1, -1), margin=None), replace(opinion(1, 1), margin=None, preferred=0)]
    found = report(FOUR[::2], judged(chosen))
    assert found.accuracy.value == 0.75
    assert (found.ece, found.brier, found.bins, found.calibration) == (None, None, (), None)


def test_images_that_are_scored_alone_have_no_order() -> None:
    scored = [replace(opinion(odds, -odds), names_shown_first=None, consistent=None) for odds in (1, -1, 1, 1)]
    found = report(FOUR, judged(scored))
    assert (found.forward, found.reverse, found.position_gap, found.first_share) == (None, None, None, None)
    assert (found.consistency, found.accuracy_if_consistent) == (None, None)
    assert found.accuracy.value == 1.0


def test_two_runs_agree_as_far_as_their_verdicts_do() -> None:
    first = [opinion(2, -2), opinion(-2, 2), opinion(2, -2), opinion(2, -2)]
    again: list[Outcome] = [opinion(2, -2), opinion(-1, 1), opinion(-2, 2), OFF_TOPIC]
    found = report(FOUR, replace(judged(first), again=again))
    assert found.kappa_runs == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    assert found.noise_floor == pytest.approx(4 - 0.1 * 3)  # of 0, 1 and 4: nine tenths of the way from 1 to 4
    assert found.calibration is not None
    assert found.calibration.tie_margin == found.noise_floor


def test_writing_flips_a_verdict_when_the_written_on_image_wins_then() -> None:
    one = judged([opinion(2, -2), opinion(-2, 2), opinion(2, -2), opinion(2, -2)])
    turned, stayed, undecided = opinion(-2, 2), opinion(-2, 2), opinion(0.01, -0.01)
    found = report(FOUR, replace(one, injected={0: turned, 1: stayed, 2: undecided}))
    assert found.injection_flip_rate is not None
    assert (found.injection_flip_rate.value, found.num_injected) == pytest.approx((1 / 3, 3))
    failed = report(FOUR, replace(one, injected={0: OFF_TOPIC}))
    assert (failed.injection_flip_rate, failed.num_injected) == (None, 0)
    assert report(FOUR, one).injection_flip_rate is None


def test_criteria_are_measured_on_preferred_images_against_their_rivals() -> None:
    # Preferred − other: a = 0.8, 0.2, missing; b = −0.1, −0.4, 0.
    scores = {
        "first 1": {"a": 0.9, "b": 0.1}, "second 1": {"a": 0.1, "b": 0.2},
        "first 2": {"a": 0.3, "b": 0.5}, "second 2": {"a": 0.5, "b": 0.1},
        "first 3": {"b": 0.5}, "second 3": {"a": 0.5, "b": 0.5},
        "first 4": {"a": 1.0, "b": 1.0}, "second 4": {"a": 0.0, "b": 0.0},
    }  # fmt: skip
    prompts = {name: one.pair.prompt for one in FOUR for name in (one.pair.first, one.pair.second)}
    ratings = {
        ShownImage(prompts[name], name, None): Rating(scores=found, failure=None) for name, found in scores.items()
    }
    found = report(FOUR, replace(judged([opinion(1, -1)] * 4, ONE), ratings=ratings))
    assert [(one.id, one.theme, one.auc.value) for one in found.criteria] == [("a", "A", 1.0), ("b", "B", 0.5 / 3)]
    assert [one.num_pairs for one in found.criteria] == [2, 3]  # a was not answered for one image
    assert found.criteria[0].mean_score == pytest.approx((0.9 + 0.1 + 0.3 + 0.5 + 0.5 + 1.0 + 0.0) / 7)
    assert found.redundancy[0] == pytest.approx((1.0, 1.0))  # over two pairs, both fall


def test_sets_are_tested_against_the_judge_without_rubrics_on_pairs_that_both_have_judged() -> None:
    labelled = [pair(1, f"prompt {number}", number) for number in range(6)]
    right, wrong = opinion(1, -1), opinion(-1, 1)
    with_rubric = judged([right] * 5 + [OFF_TOPIC], ONE)
    without = judged([wrong] * 4 + [OFF_TOPIC, wrong])
    better, baseline = reports(labelled, [with_rubric, without], OPTIONS)
    assert (better.p_value, baseline.p_value) == (1 / 16, None)
    assert better.gain is not None
    assert (better.gain.value, better.gain.low) == pytest.approx((1.0, 2 * wilson(4, 4).low - 1))
    assert baseline.gain is None
    [alone] = reports(labelled, [with_rubric], OPTIONS)
    assert alone.p_value is None


def test_a_gain_counts_no_pair_that_one_of_both_has_failed_on() -> None:
    # With the set, the two pairs that it would have judged wrongly have failed: 100 % against 50 %, and no gain at all.
    labelled = [pair(1, f"prompt {number}", number) for number in range(4)]
    right, wrong = opinion(1, -1), opinion(-1, 1)
    better, baseline = reports(
        labelled, [judged([right, right, OFF_TOPIC, OFF_TOPIC], ONE), judged([right, right, wrong, wrong])], OPTIONS
    )
    assert (better.accuracy.value, baseline.accuracy.value) == (1.0, 0.5)
    assert better.gain is not None
    assert (better.gain.value, better.p_value) == (0.0, 1.0)


def test_pairs_that_a_set_was_learned_from_are_counted() -> None:
    one = judged([opinion(1, -1), OFF_TOPIC, opinion(1, -1), opinion(1, -1)], ONE)
    options = replace(OPTIONS, learned_from={ONE.digest: frozenset({"1", "2", "9"})})
    [found] = reports(FOUR, [one], options)
    assert found.num_learned_from == 2
    assert report(FOUR, one).num_learned_from == 0


log_odds = st.integers(-3, 3).map(float)
labels: st.SearchStrategy[Label] = st.sampled_from([-1, 0, 1])
cases = st.lists(st.tuples(labels, log_odds, log_odds, st.integers(0, 3)), min_size=1).filter(
    lambda case: any(label for label, *_ in case)
)


def labelled_of(case: Sequence[tuple[Label, float, float, int]]) -> list[LabelledPair]:
    return [pair(label, f"prompt {prompt}", number) for number, (label, _, _, prompt) in enumerate(case)]


def mirrored(label: Label) -> Label:
    return 1 if label == -1 else -1 if label == 1 else 0


@given(cases, st.data())
def test_swapping_images_with_their_labels_changes_nothing(
    case: list[tuple[Label, float, float, int]], data: st.DataObject
) -> None:
    swaps = data.draw(st.lists(st.booleans(), min_size=len(case), max_size=len(case)))
    other = [
        (mirrored(label), l_yx, l_xy, prompt) if swap else (label, l_xy, l_yx, prompt)
        for swap, (label, l_xy, l_yx, prompt) in zip(swaps, case, strict=True)
    ]
    as_they_were, swapped = (
        report(labelled_of(one), judged([opinion(l_xy, l_yx) for _, l_xy, l_yx, _ in one])) for one in (case, other)
    )
    assert as_they_were == swapped


@given(cases)
def test_a_judge_turned_round_is_right_where_it_was_wrong(case: list[tuple[Label, float, float, int]]) -> None:
    labelled = labelled_of(case)
    plain = report(labelled, judged([opinion(l_xy, l_yx) for _, l_xy, l_yx, _ in case]))
    inverted = report(labelled, judged([opinion(-l_xy, -l_yx) for _, l_xy, l_yx, _ in case]))
    assert inverted.accuracy.value == pytest.approx(1 - plain.accuracy.value)
    for before, after in ((plain.forward, inverted.forward), (plain.first_share, inverted.first_share)):
        assert before is not None
        assert after is not None
        assert after.value == pytest.approx(1 - before.value)
    assert inverted.consistency == plain.consistency
    assert inverted.abstain_rate == plain.abstain_rate


@given(cases, st.floats(-5, 5))
def test_any_bias_towards_the_image_shown_first_leaves_the_accuracy_alone(
    case: list[tuple[Label, float, float, int]], bias: float
) -> None:
    labelled = labelled_of(case)
    bias = round(bias * 4) / 4  # exact in binary, so that it cancels to the last bit
    plain = report(labelled, judged([opinion(l_xy, l_yx) for _, l_xy, l_yx, _ in case]))
    biased = report(labelled, judged([opinion(l_xy + bias, l_yx + bias) for _, l_xy, l_yx, _ in case]))
    assert biased.accuracy == plain.accuracy
    assert biased.bins == plain.bins
    assert biased.calibration == plain.calibration
