import pytest

from shared_schemas.reward import GroupError, GroupResult, PairVerdict, Status
from trainer.evaluate import wilson_interval, win_rate


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


def test_without_a_verdict_there_is_no_win_rate() -> None:
    with pytest.raises(ValueError, match="no group was judged"):
        win_rate([FAILED])


@pytest.mark.parametrize(
    ("rate", "count", "low", "high"),
    [(0.8, 10, 0.4902, 0.9433), (0.5, 100, 0.4038, 0.5962), (0.0, 20, 0.0, 0.1611), (1.0, 20, 0.8389, 1.0)],
)
def test_the_interval_is_wilsons(rate: float, count: int, low: float, high: float) -> None:
    assert wilson_interval(rate, count) == pytest.approx((low, high), abs=1e-4)
