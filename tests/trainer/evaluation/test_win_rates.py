import pytest

from shared_schemas.reward import GroupError, GroupResult, PairVerdict, Status
from trainer.data import Example
from trainer.errors import RewardsUnavailable
from trainer.evaluation.samples import Sample
from trainer.evaluation.win_rates import wilson_interval, win_rate, win_rates


def _result(margin: float, *, tie_margin: float = 0.5) -> GroupResult:
    pair = PairVerdict(
        first=0, second=1, margin=margin, p_first=0.5, position_bias=0.0, consistent=True, label_mass=1.0, cached=False
    )
    if abs(margin) < tie_margin:
        return GroupResult(id="g", status=Status.TIED, pairs=(pair,))
    won = margin > 0
    return GroupResult(
        id="g",
        status=Status.SCORED,
        rewards=(1.0, -1.0) if won else (-1.0, 1.0),
        ranks=(1, 2) if won else (2, 1),
        pairs=(pair,),
    )


FAILED = GroupResult(
    id="g", status=Status.FAILED, error=GroupError(type="judge-timeout", detail="too slow", retryable=True)
)


def test_a_tie_counts_half_and_a_failure_not_at_all() -> None:
    rate = win_rate([_result(2.0), _result(1.0), _result(0.0), _result(-1.0), FAILED])
    assert (rate.wins, rate.ties, rate.losses) == (2, 1, 1)
    assert rate.win_rate == pytest.approx(2.5 / 4)
    assert rate.mean_margin == pytest.approx(0.5)


def test_a_judge_without_margins_still_has_a_win_rate() -> None:
    pair = {"first": 0, "second": 1, "cached": False} | dict.fromkeys(
        ("margin", "p_first", "position_bias", "consistent", "label_mass")
    )
    won = _result(2.0).model_copy(update={"pairs": (PairVerdict.model_validate(pair),)})
    rate = win_rate([won])
    assert (rate.wins, rate.win_rate, rate.mean_margin) == (1, 1.0, None)
    assert win_rate([won, _result(-1.0)]).mean_margin == -1.0


def test_without_a_verdict_there_is_no_win_rate() -> None:
    with pytest.raises(ValueError, match="no group was judged"):
        win_rate([FAILED])


def test_held_out_prompts_that_the_judge_failed_on_leave_their_rate_empty() -> None:
    samples = [
        Sample(example=Example("a"), noise=0, is_held_out=False),
        Sample(example=Example("b"), noise=0, is_held_out=True),
    ]
    overall, held_out = win_rates([_result(2.0), _result(-2.0)], samples)
    assert (overall.win_rate, held_out and held_out.win_rate) == (0.5, 0.0)
    overall, held_out = win_rates([_result(2.0), FAILED], samples)
    assert (overall.win_rate, held_out) == (1.0, None)


def test_an_evaluation_without_any_verdict_ends_the_run_with_the_reason() -> None:
    with pytest.raises(RewardsUnavailable, match="none of the 1 pairs"):
        win_rates([FAILED], [Sample(example=Example("a"), noise=0, is_held_out=False)])


@pytest.mark.parametrize(
    ("rate", "count", "low", "high"),
    [(0.8, 10, 0.4902, 0.9433), (0.5, 100, 0.4038, 0.5962), (0.0, 20, 0.0, 0.1611), (1.0, 20, 0.8389, 1.0)],
)
def test_the_interval_is_wilsons(rate: float, count: int, low: float, high: float) -> None:
    assert wilson_interval(rate, count) == pytest.approx((low, high), abs=1e-4)
