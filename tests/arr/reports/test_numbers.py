import pytest

from arr.reports import numbers
from shared_schemas.evaluations import Estimate


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.share(0.7812), "78.1 %"),
        (numbers.share(None), "–"),
        (numbers.share_with_interval(Estimate(value=0.5, low=0.4, high=0.625)), "50.0 % [40.0–62.5]"),
        (numbers.points(-0.021), "−2.1 points"),
        (numbers.points(-0.0001), "+0.0 points"),
        (numbers.signed_interval(Estimate(value=0.1, low=-0.05, high=0.253)), "−5.0 to +25.3"),
        (numbers.decimal(-0.0001), "0.000"),
        (numbers.decimal(-0.25), "−0.250"),
        (numbers.weight(-0.25), "−0.25"),
        (numbers.weight(1.5), "+1.50"),
        (numbers.weight(None), "–"),
        (numbers.p_value(0.00004), "< 0.0001"),
        (numbers.p_value(0.0123), "0.012"),
        (numbers.nats(0.1), "0.100 nats"),
        (numbers.duration(0.84), "0.8 s"),
        (numbers.duration(59.6), "1 min 0 s"),
        (numbers.duration(42), "42 s"),
        (numbers.duration(7500), "2 h 5 min"),
    ],
)
def test_figures_read_the_same_everywhere(written: str, expected: str) -> None:
    assert written == expected
