"""What a calibration changes about the terms of a request, and what it leaves alone."""

import pytest

from services.reward_api.terms import Terms, agree_on_terms, calibrate
from shared_schemas.reward import RewardRequest
from shared_schemas.rubrics import Calibration, Criterion, Mode, RubricContent, Task

CALIBRATION = Calibration(temperature=2.0, tie_margin=0.3, ece=0.0, num_pairs=40, dataset="sha256:" + "0" * 64)
CRITERIA = (Criterion(id="c", theme="sharp"),)


def terms_of(rubric: RubricContent, calibration: Calibration | None, **meta: object) -> Terms:
    group = {"id": "g", "prompt": "p", "candidates": ["a", "b"]}
    request = RewardRequest.model_validate({"rubric": "set", "groups": [group], **meta})
    terms = agree_on_terms(request, rubric, default_tie_margin=0.05)
    return calibrate(terms, calibration, meta=request, rubric=rubric)


PAIRWISE = RubricContent(task=Task.T2I, criteria=CRITERIA)
POINTWISE = RubricContent(task=Task.T2I, criteria=CRITERIA, mode=Mode.POINTWISE)


def test_without_a_calibration_the_defaults_hold() -> None:
    terms = terms_of(PAIRWISE, None)
    assert (terms.tie_band, terms.temperature, terms.is_calibrated) == (0.05, 1.0, False)


def test_a_calibration_says_what_the_request_leaves_open() -> None:
    terms = terms_of(PAIRWISE, CALIBRATION)
    assert (terms.tie_band, terms.temperature, terms.is_calibrated) == (0.3, 2.0, True)


@pytest.mark.parametrize("tie_margin", [0.0, 0.7])
def test_a_tie_margin_that_was_asked_for_stays(tie_margin: float) -> None:
    terms = terms_of(PAIRWISE, CALIBRATION, tie_margin=tie_margin)
    assert (terms.tie_band, terms.temperature, terms.is_calibrated) == (tie_margin, 2.0, True)


def test_pointwise_the_calibration_is_of_scores() -> None:
    terms = terms_of(POINTWISE, CALIBRATION)
    assert (terms.tie_band, terms.temperature, terms.is_calibrated) == (0.3, 2.0, True)
    assert terms_of(POINTWISE, CALIBRATION, tie_score=0.1).tie_band == 0.1
    assert terms_of(POINTWISE, None).tie_band == 0.0


@pytest.mark.parametrize(("rubric", "mode"), [(POINTWISE, "pairwise"), (PAIRWISE, "pointwise")])
def test_a_set_in_another_mode_than_its_own_is_not_calibrated(rubric: RubricContent, mode: str) -> None:
    assert terms_of(rubric, CALIBRATION, mode=mode) == terms_of(rubric, None, mode=mode)
