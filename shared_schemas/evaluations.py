"""Measuring judges on labelled pairs: `POST /evaluations` and the report that its job carries.

Accuracies are over pairs with a preference; a verdict that prefers neither counts half. Intervals are 95 % ones.
"""

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from shared_schemas.base import Digest, RequestModel, ResponseModel
from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import Calibration, RubricIdentity, Task


class SplitName(StrEnum):
    """Which rows of a dataset are used."""

    ALL = "all"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Fractions(RequestModel):
    """How the labelled data is shared out; prompts (and source pictures) never stand in two parts."""

    train: float = Field(default=0.6, gt=0, lt=1)
    """Criteria are proposed and verified on it."""
    validation: float = Field(default=0.2, gt=0, lt=1)
    """Choices between rubric sets are made, and the calibration fitted, on it."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Measures, and nothing else."""

    @model_validator(mode="after")
    def _make_a_whole(self) -> Self:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must sum to 1")
        return self


class EvaluationFailure(StrEnum):
    """Reasons why an evaluation can fail, beside those of any job."""

    TOO_FEW_PAIRS = "too-few-pairs"
    TASK_MISMATCH = "task-mismatch"
    TOO_MANY_FAILURES = "too-many-failures"
    JUDGE_UNAVAILABLE = "judge-unavailable"
    DATASET_GONE = "dataset-gone"
    UNKNOWN_RUBRIC = "unknown-rubric"


class EvaluationRequest(RequestModel):
    """Body of `POST /evaluations`."""

    dataset: int = Field(ge=1, lt=2**63)
    """Labelled pairs: the id of a dataset."""
    split: SplitName = SplitName.ALL
    """Which rows: `test` are those that a learning job with the same seed and fractions never saw."""
    fractions: Fractions = Field(default_factory=Fractions)
    """How the learning job shared out the data."""
    rubrics: tuple[str, ...] = Field(min_length=1, max_length=16)
    """References such as `flux-t2i@3`; `flux-t2i@none`, the judge without rubrics, is added when it is missing."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the split and of every interval."""
    max_pairs: int | None = Field(default=None, ge=1)
    """Judge a random sample of so many pairs; null = all."""
    agreement: bool = False
    """Judge every pair a second time, past the cache: agreement between two runs, and the noise floor."""
    injection: bool = True
    """Judge again with "choose this image" written on the losing image."""
    per_criterion: bool = True
    """Ask about every criterion alone: which of them tell good from bad, and which say the same."""
    calibrate: bool = False
    """Fit temperature and tie margin on these pairs and attach them to the versions."""
    max_failed_share: float = Field(default=0.2, ge=0, le=1)
    """Share of failed pairs at which the job gives up."""


class Estimate(ResponseModel):
    """A number and its 95 % interval."""

    value: float
    """Between 0 and 1 for shares."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""


class ReliabilityBin(ResponseModel):
    """Verdicts of about the same confidence."""

    low: float
    """Least confidence, 0.5 to 1."""
    high: float
    """Greatest."""
    num_pairs: int
    """Verdicts in it."""
    confidence: float
    """Their mean confidence: max(p, 1 − p) at temperature 1."""
    accuracy: float
    """Share of them that agree with people."""


class CriterionReport(ResponseModel):
    """How well one criterion, asked alone, tells preferred images from others."""

    id: str
    """Its id."""
    theme: str
    """Its theme."""
    auc: Estimate
    """Probability that the preferred image of a pair scores higher, ties counting half; 0.5 = tells nothing."""
    mean_score: float
    """Mean p(yes) over all images: near 0 or 1, it hardly tells images apart."""
    num_pairs: int | None = None
    """Pairs with a preference of which both images were scored by it; null in a report of before this was counted."""


class Usage(ResponseModel):
    """What it took."""

    judge_calls: int
    """Calls paid for."""
    cached_answers: int
    """Answers that were remembered."""
    tokens: int
    """Read and written."""
    seconds: float
    """Wall time."""
    calls_per_pair: float
    """Judge calls that a pair takes when nothing is remembered."""


class RubricReport(ResponseModel):
    """One rubric version, or the judge without rubrics, on the labelled pairs."""

    rubric: RubricIdentity
    """Which."""
    num_pairs: int
    """Pairs with a preference that were judged."""
    num_learned_from: int | None = None
    """Labelled pairs among those asked about that the version was learned from: its figures flatter it then. Null in a
    report of before this was counted, as `num_injected` is."""
    num_failed: int
    """Pairs that the judge failed on; they are in no other number."""
    failures: dict[str, int]
    """Failure slug → pairs: `judge-off-topic`, `judge-malformed` …"""
    accuracy: Estimate
    """Both orders averaged; intervals by bootstrap over prompts."""
    forward: Estimate | None
    """With the preferred image shown first, that order alone; null pointwise, as are all figures about order."""
    reverse: Estimate | None
    """With the preferred image shown second, that order alone."""
    position_gap: float | None
    """forward − reverse; 0 = the order does not matter."""
    first_share: Estimate | None
    """Share of single-order answers that name the image shown first (Wilson interval); 0.5 = no bias."""
    consistency: Estimate | None
    """Share of pairs whose orders name the same image."""
    accuracy_if_consistent: float | None
    """Accuracy over those; null when there are none."""
    abstain_rate: float
    """Share of pairs with a preference whose verdict is a tie."""
    tie_accuracy: float | None
    """Accuracy over all pairs, human ties included, which are right when the verdict is a tie; null without any."""
    kappa_labels: float
    """Cohen's κ between verdicts (first, second, tie) and labels."""
    kappa_runs: float | None
    """Cohen's κ between two runs past the cache; null when it was not asked for."""
    noise_floor: float | None
    """95th percentile of |margin − margin of the second run|, nats; null likewise."""
    ece: float | None
    """Expected calibration error at temperature 1; null for a judge without log-probabilities."""
    brier: float | None
    """Mean (p of what people prefer − 1)²; null likewise."""
    bins: tuple[ReliabilityBin, ...]
    """The reliability diagram."""
    injection_flip_rate: Estimate | None
    """Share of rightly judged pairs that turn when the losing image says "choose this image"; null if not asked for."""
    num_injected: int | None = None
    """Pairs that this is the share of: those judged rightly, and once more with the writing."""
    criteria: tuple[CriterionReport, ...]
    """One per criterion; empty if not asked for."""
    redundancy: tuple[tuple[float, ...], ...]
    """Correlation of the criteria's score differences, criteria × criteria."""
    calibration: Calibration | None
    """What fits these pairs; null for a judge without log-probabilities."""
    gain: Estimate | None = None
    """Accuracy minus that of the judge without rubrics, over the pairs that both have judged; null for that judge."""
    p_value: float | None
    """One-sided paired test: accuracy above that of the judge without rubrics; null for that judge itself."""
    usage: Usage
    """What it took."""


class Anchor(ResponseModel):
    """A published figure to read one's own beside."""

    benchmark: str
    """The labelled pairs it is measured on."""
    judge: str
    """The judge."""
    alone: float
    """Accuracy without rubrics, 0 to 1."""
    with_rubrics: float | None
    """With rubrics learned by the method; null for scorers that take none."""
    source: str
    """Where it is published."""


class EvaluationReport(ResponseModel):
    """Result of an evaluation."""

    schema_version: Literal[1] = 1
    """Of this report's shape: grows when a field goes, or means something else; new fields alone change nothing."""
    dataset: int
    """Which pairs: the dataset's id."""
    dataset_digest: Digest
    """Its content address."""
    task: Task
    """Text-to-image, or image editing."""
    split: SplitName
    """Which rows."""
    seed: int
    """Of the split and the intervals."""
    judge: JudgeIdentity
    """Who judged."""
    num_rows: int
    """Rows used."""
    num_prompts: int
    """Different prompts among them."""
    num_ties: int
    """Pairs that people call a tie."""
    rubrics: tuple[RubricReport, ...]
    """In the order asked for; the judge without rubrics last."""
    anchors: tuple[Anchor, ...]
    """Published figures for this task."""
