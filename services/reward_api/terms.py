"""What a reward request asks for once every default is filled in: mode, reward scheme, tie band.

Owns which of these go together; the one rule is that a request whose fields contradict each other is refused, never
bent into one that makes sense.
"""

from dataclasses import dataclass, replace

from services.reward_api.admission import wrong_field
from shared_schemas.reward import MAX_PAIRWISE_CANDIDATES, RewardRequest, RewardScheme, Scheme
from shared_schemas.rubrics import Calibration, Mode, RubricContent


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How the groups of one request are judged and rewarded."""

    mode: Mode
    reward: RewardScheme | None
    """As requested; None = the scheme that suits the mode."""
    tie_band: float
    """Nats pairwise, score pointwise."""
    temperature: float = 1.0
    """Probability that one candidate is better than another = sigmoid(margin / temperature)."""
    is_calibrated: bool = False
    """Whether the tie band (unless requested) and the temperature were fitted to the rubric set and the judge."""

    @property
    def scheme(self) -> RewardScheme:
        """By default `score` pointwise, and pairwise `rank`, which is `binary` for two candidates."""
        default = Scheme.SCORE if self.mode is Mode.POINTWISE else Scheme.RANK
        return self.reward or RewardScheme(scheme=default)


def agree_on_terms(meta: RewardRequest, rubric: RubricContent, *, default_tie_margin: float) -> Terms:
    """Fill in what the request leaves open. Raises `InvalidRequest` for what does not go together."""
    mode = meta.mode or rubric.mode
    if mode is Mode.POINTWISE:
        tie_band = meta.tie_score or 0.0
        _check_pointwise(meta, rubric)
    else:
        tie_band = default_tie_margin if meta.tie_margin is None else meta.tie_margin
        _check_pairwise(meta)
    terms = Terms(mode=mode, reward=meta.reward, tie_band=tie_band)
    for index, group in enumerate(meta.groups):
        if complaint := _complaint(len(group.candidates), terms):
            raise wrong_field(f"groups.{index}.candidates", complaint)
    return terms


def calibrate(terms: Terms, calibration: Calibration | None, *, meta: RewardRequest, rubric: RubricContent) -> Terms:
    """The same terms as the calibration for the set and the judge has them; a tie band that was requested stays.

    It was fitted to judging in the set's own mode, so to differences of its log-odds or of its scores, and says nothing
    about the other ones.
    """
    if calibration is None or terms.mode is not rubric.mode:
        return terms
    requested = meta.tie_score if terms.mode is Mode.POINTWISE else meta.tie_margin
    tie_band = calibration.tie_margin if requested is None else requested
    return replace(terms, tie_band=tie_band, temperature=calibration.temperature, is_calibrated=True)


def _check_pointwise(meta: RewardRequest, rubric: RubricContent) -> None:
    if not rubric.criteria:
        raise wrong_field("rubric", "pointwise judging needs a rubric set with criteria")
    if meta.tie_margin is not None:
        raise wrong_field("tie_margin", "is for pairwise judging; scores have `tie_score`")


def _check_pairwise(meta: RewardRequest) -> None:
    if meta.tie_score is not None:
        raise wrong_field("tie_score", "is for pointwise judging; margins have `tie_margin`")
    if meta.reward is not None and meta.reward.scheme is Scheme.SCORE:
        raise wrong_field("reward.scheme", "`score` is for pointwise judging; a pair has no scores")


def _complaint(num_candidates: int, terms: Terms) -> str | None:
    """Why a group of this size cannot be judged or rewarded by these terms."""
    if terms.mode is Mode.PAIRWISE and num_candidates < 2:
        return "pairwise judging needs at least 2 candidates"
    if terms.mode is Mode.PAIRWISE and num_candidates > MAX_PAIRWISE_CANDIDATES:
        return f"up to {MAX_PAIRWISE_CANDIDATES} candidates are compared pairwise; this group has {num_candidates}"
    match terms.scheme.scheme:
        case Scheme.BINARY if num_candidates != 2:
            return f"`binary` rewards are for 2 candidates; this group has {num_candidates}"
        case Scheme.RANK | Scheme.WIN_RATE | Scheme.MARGIN as scheme if num_candidates < 2:
            return f"`{scheme.value}` rewards compare at least 2 candidates"
    return None
