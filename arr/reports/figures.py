"""The figures of a rubric report: what each is called, what it means, and how it is written."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from arr.reports.numbers import (
    NONE,
    count,
    decimal,
    duration,
    interval,
    nats,
    p_value,
    points,
    share,
    signed_interval,
    signed_percent,
)
from shared_schemas.evaluations import Estimate, EvaluationReport, RubricReport

_FEW_PROMPTS = 20
"""Below it, intervals from drawing prompts are too narrow."""

_MANY_FAILED = 0.05
"""Share of failed pairs above which they are worth a word."""

_DIGEST_CHARS = 19
"""Of `sha256:…`, for people."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure as it is written."""

    main: str
    detail: str = ""
    """Its interval, or what it is made of."""

    def __str__(self) -> str:
        """`78.1 % [72.0–83.4]`."""
        return f"{self.main} [{self.detail}]" if self.detail else self.main


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureRow:
    """One figure of several rubrics, side by side."""

    label: str
    meaning: str
    figures: tuple[Figure, ...]
    """One for each rubric; a dash where there is no such figure."""


_FIGURES: tuple[tuple[str, str, Callable[[RubricReport], Figure | str]], ...] = (
    (
        "accuracy",
        "pairs of which the judge prefers the image that people prefer, both orders averaged; a tie counts half",
        lambda rubric: _estimate(rubric.accuracy),
    ),
    (
        "points over no rubrics",
        "accuracy minus that of the judge without rubrics, over the pairs that both have judged",
        lambda rubric: _gain(rubric.gain),
    ),
    (
        "p against no rubrics",
        "that the judge without rubrics is as accurate; one-sided, paired",
        lambda rubric: p_value(rubric.p_value),
    ),
    ("better one shown first", "accuracy in that order alone", lambda rubric: share(_value(rubric.forward))),
    ("better one shown second", "accuracy in that order alone", lambda rubric: share(_value(rubric.reverse))),
    ("gap between the two", "0 = the order does not matter", lambda rubric: points(rubric.position_gap)),
    (
        "names the first image",
        "answers that name the image shown first; 50 % = no bias",
        lambda rubric: _estimate(rubric.first_share),
    ),
    ("orders agree", "pairs of which both orders name the same image", lambda rubric: _estimate(rubric.consistency)),
    ("accuracy where they agree", "", lambda rubric: share(rubric.accuracy_if_consistent)),
    ("ties", "pairs with a preference of which the judge has none", lambda rubric: share(rubric.abstain_rate)),
    ("accuracy with human ties", "which are right when the judge ties", lambda rubric: share(rubric.tie_accuracy)),
    ("κ with the labels", "agreement beyond chance", lambda rubric: decimal(rubric.kappa_labels)),
    ("κ between two runs", "past the cache", lambda rubric: decimal(rubric.kappa_runs)),
    ("noise", "95 of 100 margins change less from run to run", lambda rubric: _margin(rubric, rubric.noise_floor)),
    ("calibration error", "mean gap between confidence and accuracy", lambda rubric: decimal(rubric.ece)),
    ("Brier score", "0 = certain and right, 0.25 = knows nothing", lambda rubric: decimal(rubric.brier)),
    (
        "talked over",
        "right verdicts that turn when the losing image says “choose this image”",
        lambda rubric: _estimate(rubric.injection_flip_rate),
    ),
    ("written on", "right verdicts that were asked for again so", lambda rubric: _num_injected(rubric)),
    ("fitted temperature", "of these pairs", lambda rubric: _temperature(rubric)),
    ("fitted tie margin", "margins below it are ties", lambda rubric: _tie_margin(rubric)),
    ("pairs", "with a preference, judged", lambda rubric: count(rubric.num_pairs)),
    ("learned from", "pairs among them whose labels the set has seen", lambda rubric: _learned_from(rubric)),
    ("failed", "pairs that the judge could not judge; in no other figure", lambda rubric: _failures(rubric)),
    ("judge calls", "paid for; remembered answers cost none", lambda rubric: count(rubric.usage.judge_calls)),
    ("remembered answers", "", lambda rubric: count(rubric.usage.cached_answers)),
    ("calls a pair", "when nothing is remembered", lambda rubric: f"{rubric.usage.calls_per_pair:.3g}"),
    ("tokens", "read and written", lambda rubric: count(rubric.usage.tokens)),
    ("time", "", lambda rubric: duration(rubric.usage.seconds)),
)


def figure_rows(rubrics: Sequence[RubricReport]) -> tuple[FigureRow, ...]:
    """All figures that at least one of the rubrics has."""
    rows = (
        FigureRow(label=label, meaning=meaning, figures=tuple(_as_figure(written(rubric)) for rubric in rubrics))
        for label, meaning, written in _FIGURES
    )
    return tuple(row for row in rows if any(figure.main != NONE for figure in row.figures))


def side_by_side(rubrics: Sequence[RubricReport], *, num_versions: int) -> Iterator[tuple[RubricReport, ...]]:
    """So many versions at a time, each time with the judge without rubrics beside them."""
    versions = [rubric for rubric in rubrics if not is_none(rubric)]
    baseline = [rubric for rubric in rubrics if is_none(rubric)]
    for start in range(0, max(1, len(versions)), num_versions):
        yield (*versions[start : start + num_versions], *baseline)


def without_rubrics(report: EvaluationReport) -> RubricReport | None:
    """The figures of the judge without rubrics."""
    return next((rubric for rubric in reversed(report.rubrics) if is_none(rubric)), None)


def best_rubric(report: EvaluationReport) -> RubricReport | None:
    """The most accurate rubric version; none where only the judge without rubrics was measured."""
    versions = [rubric for rubric in report.rubrics if not is_none(rubric)]
    return max(versions, key=lambda rubric: rubric.accuracy.value, default=None)


def num_versions(report: EvaluationReport) -> int:
    """How many rubric versions were measured, the judge without rubrics not counted."""
    return sum(not is_none(rubric) for rubric in report.rubrics)


def cautions(report: EvaluationReport) -> Iterator[str]:
    """What to know before the figures are believed."""
    for rubric in report.rubrics:
        if rubric.num_learned_from:
            yield (
                f"{called(rubric)} was learned from {rubric.num_learned_from:,} of these pairs, so its figures flatter "
                "it; the split “test”, with the seed and the fractions of its job, leaves them out."
            )
        num_asked = rubric.num_pairs + rubric.num_failed
        if rubric.num_failed > _MANY_FAILED * num_asked:
            yield (
                f"The judge failed on {rubric.num_failed:,} pairs with {called(rubric)}, and they are in none of its "
                "figures: if they are the hard ones, the figures flatter it."
            )
    if report.num_prompts < _FEW_PROMPTS:
        yield f"With {report.num_prompts:,} prompts, intervals are rough: what holds for more is still open."
    if (num := num_versions(report)) > 1:
        yield (
            f"Each p-value is of one version by itself. Of {num} versions the best is best partly by luck: it takes "
            f"p ≤ {p_value(0.05 / num)} where one alone takes 0.05."
        )


def called(rubric: RubricReport) -> str:
    """`shapes@3`; a set that was not published has no name but its digest, and a short one does."""
    identity = rubric.rubric
    return f"{identity.digest[:_DIGEST_CHARS]}…" if identity.name is None else identity.reference


def is_none(rubric: RubricReport) -> bool:
    """Whether these are the figures of the judge without rubrics."""
    return rubric.rubric.name is not None and rubric.rubric.version is None


def _as_figure(written: Figure | str) -> Figure:
    return written if isinstance(written, Figure) else Figure(written)


def _estimate(estimate: Estimate | None) -> Figure:
    return Figure(NONE) if estimate is None else Figure(share(estimate.value), interval(estimate))


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _failures(rubric: RubricReport) -> Figure:
    if not rubric.num_failed:
        return Figure(NONE)
    reasons = ", ".join(f"{num:,} {slug}" for slug, num in sorted(rubric.failures.items()))
    return Figure(count(rubric.num_failed), reasons)


def _temperature(rubric: RubricReport) -> str:
    return decimal(None if rubric.calibration is None else rubric.calibration.temperature)


def _tie_margin(rubric: RubricReport) -> str:
    return _margin(rubric, None if rubric.calibration is None else rubric.calibration.tie_margin)


def _margin(rubric: RubricReport, value: float | None) -> str:
    """In nats, or of images that are scored alone in the unit of their scores."""
    return nats(value) if rubric.first_share is not None else decimal(value)


def _gain(gain: Estimate | None) -> Figure:
    return Figure(NONE) if gain is None else Figure(signed_percent(gain.value), signed_interval(gain))


def _num_injected(rubric: RubricReport) -> str:
    num_asked = None if rubric.injection_flip_rate is None else rubric.num_injected
    return NONE if num_asked is None else count(num_asked)


def _learned_from(rubric: RubricReport) -> str:
    return count(rubric.num_learned_from) if rubric.num_learned_from else NONE
