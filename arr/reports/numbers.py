"""How figures are written for people; the same on terminals and pages. A figure that there is not is a dash."""

from shared_schemas.evaluations import Estimate

NONE = "–"


def share(value: float | None) -> str:
    """`78.1 %`."""
    return NONE if value is None else f"{100 * value:.1f} %"


def share_with_interval(estimate: Estimate | None) -> str:
    """`78.1 % [72.0–83.4]`."""
    return NONE if estimate is None else f"{share(estimate.value)} [{interval(estimate)}]"


def interval(estimate: Estimate) -> str:
    """`72.0–83.4`, in percent."""
    return f"{100 * estimate.low:.1f}–{100 * estimate.high:.1f}"


def points(value: float | None) -> str:
    """`+16.2 points`, of a difference between shares."""
    return NONE if value is None else f"{signed_percent(value)} points"


def signed_percent(value: float) -> str:
    """`+16.2`, of a difference between shares."""
    return _signed(100 * value, 1)


def signed_interval(estimate: Estimate) -> str:
    """`+9.0 to +23.1`, in percent."""
    return f"{signed_percent(estimate.low)} to {signed_percent(estimate.high)}"


def decimal(value: float | None) -> str:
    """`0.123`."""
    return NONE if value is None else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def nats(value: float | None) -> str:
    """`0.123 nats`."""
    return NONE if value is None else f"{value:.3f} nats"


def weight(value: float | None) -> str:
    """`+1.50`, `−0.25`."""
    return NONE if value is None else _signed(value, 2)


def p_value(value: float | None) -> str:
    """`0.012`, `< 0.0001`."""
    if value is None:
        return NONE
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def count(value: int) -> str:
    """`12,345`."""
    return f"{value:,}"


def duration(seconds: float) -> str:
    """`0.8 s`, `42 s`, `3 min 12 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _signed(value: float, decimals: int) -> str:
    """`+1.5`, `−0.2`; `+0.0` for whatever is rounded to 0."""
    return f"{round(value, decimals) + 0.0:+.{decimals}f}".replace("-", "−")
