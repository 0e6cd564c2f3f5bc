"""What an evaluation does beside judging every pair once, and what it needs to know for that."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import Calibration, RubricContent

CalibrationsByJudge = Mapping[str, Calibration]
"""Judge fingerprint → calibration, as `RubricVersion.calibration` has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """How to evaluate."""

    dataset: str
    """Digest of the dataset that the pairs are from."""
    tie_margin: float
    """Nats; pairwise margins below it are ties, unless a calibration says otherwise."""
    calibrations: Mapping[str, CalibrationsByJudge] = field(default_factory=dict)
    """Digest of a rubric set's content → its calibrations, whose tie margins are used."""
    learned_from: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Digest of a rubric set's content → digests of the rows that it was learned from."""
    seed: int = 0
    """Of every interval and test."""
    injection: bool = False
    """Judge again with "choose this image" written on the losing image."""
    per_criterion: bool = False
    """Ask about every criterion alone, of pairwise sets too."""
    max_failed_share: float = 0.2
    """Share of failed pairs beyond which the evaluation gives up."""
    job: int | None = None
    """The job that this is part of, for the calibrations that are fitted."""

    def default_tie_margin(self, content: RubricContent) -> float:
        """Before any calibration. Pointwise only equal scores are a tie, as in `POST /reward`."""
        return 0.0 if content.is_scored else self.tie_margin

    def tie_margin_of(self, content: RubricContent, judge: JudgeIdentity) -> float:
        """What counts as a tie for this set and this judge: nats (pairwise), score (pointwise)."""
        calibration = self.calibrations.get(content.digest, {}).get(judge.fingerprint)
        return self.default_tie_margin(content) if calibration is None else calibration.tie_margin
