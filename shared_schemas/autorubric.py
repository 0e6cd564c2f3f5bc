"""The method `autorubric_t2i` on the wire: its parameters, and what its learning jobs tell beside the rubric set."""

from typing import Self

from pydantic import Field, model_validator

from shared_schemas.base import OptionalText, RequestModel, ResponseModel
from shared_schemas.embedding import Embedding
from shared_schemas.evaluations import Fractions
from shared_schemas.rubrics import Language


class BucketMix(RequestModel):
    """How the wrongly ranked pairs of one round are drawn: shares of the three buckets, which sum to 1."""

    small_margin: float = Field(ge=0, le=1)
    """Nearly right: the scores hardly differ."""
    large_margin: float = Field(ge=0, le=1)
    """Clearly wrong."""
    high_reward: float = Field(ge=0, le=1)
    """Both images have high scores, in the wrong order."""

    @model_validator(mode="after")
    def _make_a_whole(self) -> Self:
        if abs(self.small_margin + self.large_margin + self.high_reward - 1) > 1e-9:
            raise ValueError("small_margin, large_margin and high_reward must sum to 1")
        return self


class AutoRubricParameters(RequestModel):
    """Parameters of the method `autorubric_t2i`. Values marked (paper) are published; all others are this project's."""

    language: Language = Language.EN
    """Language of the criteria and of every prompt."""
    task_description: OptionalText = Field(default="", max_length=2000)
    """What the images are for, told to the writer and the judge, and part of the set."""

    max_pool: int = Field(default=1024, ge=2)
    """Training pairs that are looked at; of more, so many are drawn. Each costs two calls where seeds are chosen."""
    seed_pairs: int = Field(default=256, ge=2)
    """Pairs that the first criteria are written for (paper)."""
    seed_diversity: float = Field(default=0.5, ge=0, le=1)
    """What counts in choosing them: 0 = the lead of the better image by the judge without rubrics, 1 = new prompts."""
    prompt_clusters: int = Field(default=32, ge=1)
    """Kinds of prompts that are told apart for it."""
    criteria_per_pair: int = Field(default=3, ge=1, le=20)
    """Criteria written for each pair."""
    scored_pairs: int = Field(default=512, ge=2)
    """Pairs that all criteria are scored on and weights fitted to: the seeds, and others drawn from the pool."""
    max_candidates: int = Field(default=1000, ge=2)
    """Criteria in all. Each is asked about every image of the scored pairs."""
    min_answered_share: float = Field(default=0.8, gt=0, le=1)
    """Criteria that the judge answers for fewer of the pairs are dropped."""

    max_criteria: int = Field(default=20, ge=1, le=64)
    """Criteria that are kept: those with the largest positive weights (paper: Top-N)."""
    c: float | None = Field(default=None, gt=0, le=1e6)
    """Inverse strength of the penalty, as scikit-learn has it. Null = chosen by cross-validation."""
    c_lowest: float = Field(default=0.01, gt=0, le=1e6)
    """Lower end of the values tried, on a logarithmic scale."""
    c_highest: float = Field(default=100.0, gt=0, le=1e6)
    """Upper end."""
    c_steps: int = Field(default=25, ge=2, le=200)
    """Values tried."""
    folds: int = Field(default=5, ge=2, le=20)
    """Parts of the cross-validation; prompts never stand in two of them."""
    one_standard_error: bool = True
    """Take the sparsest set whose loss is within one standard error of the best, not the best."""
    stability: bool = False
    """Also fit random halves of the pairs and report how often each criterion is selected."""
    stability_draws: int = Field(default=100, ge=10, le=1000)
    """Halves that are fitted."""
    stability_size: int = Field(default=20, ge=1, le=64)
    """Criteria that a half keeps on average, about as many as `max_criteria`: with fewer, less is found; with more,
    also what is not there."""
    stability_share: float = Field(default=0.6, gt=0.5, le=1)
    """Criteria selected in at least this share of the halves are called stable."""

    rounds: int = Field(default=4, ge=0, le=50)
    """Rounds of writing criteria for wrongly ranked pairs, after the first."""
    pairs_per_round: int = Field(default=32, ge=1)
    """Wrongly ranked pairs that a round writes criteria for."""
    small_margin_percentile: float = Field(default=30.0, gt=0, lt=100)
    """Margins below this percentile of all pairs' are small."""
    high_reward_percentile: float = Field(default=60.0, gt=0, lt=100)
    """Images have high scores from this percentile of all images' on."""
    first_mix: BucketMix = BucketMix(small_margin=0.3, large_margin=0.6, high_reward=0.1)
    """What the first round draws: mostly what is clearly wrong."""
    last_mix: BucketMix = BucketMix(small_margin=0.2, large_margin=0.1, high_reward=0.7)
    """What the last one draws: mostly high scores in the wrong order. Rounds between them lie between them."""
    max_uses_per_pair: int = Field(default=4, ge=1)
    """A pair is drawn so often at most (paper): what stays wrong may be labelled wrongly."""
    patience: int = Field(default=2, ge=1)
    """Rounds without a better accuracy on the validation part after which learning stops."""

    embedding: Embedding = Embedding.TFIDF
    """How criteria are compared, to write none twice."""
    fractions: Fractions = Field(default_factory=Fractions)
    """How the data is shared out."""
    significance: float = Field(default=0.05, gt=0, lt=1)
    """The set must beat the judge without rubrics on held-out pairs, at this level of a one-sided paired test."""
    max_failed_share: float = Field(default=0.2, ge=0, le=1)
    """Share of failed items of a stage at which the job gives up."""

    @model_validator(mode="after")
    def _the_grid_ascends(self) -> Self:
        if self.c_lowest >= self.c_highest:
            raise ValueError("c_lowest must be below c_highest")
        return self


class BucketCounts(ResponseModel):
    """Wrongly ranked pairs by kind."""

    small_margin: int
    """Nearly right."""
    large_margin: int
    """Clearly wrong."""
    high_reward: int
    """Both images have high scores."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.small_margin + self.large_margin + self.high_reward


class LearningRound(ResponseModel):
    """One fit, and what was done about what it ranks wrongly."""

    round: int
    """0 = with the criteria of the seeds."""
    num_candidates: int
    """Criteria that were weighed."""
    num_new: int
    """Those of them that this round added."""
    num_nonzero: int
    """Those with a weight, positive or negative."""
    num_kept: int
    """Those that were kept: the Top-N."""
    c: float
    """Inverse strength of the penalty."""
    train_accuracy: float
    """Share of the scored pairs that the kept criteria rank as people do."""
    validation_accuracy: float | None
    """The same for the validation part; null without pairs there."""
    misranked: BucketCounts
    """Scored pairs that they rank wrongly."""
    drawn: BucketCounts
    """Those that the next round wrote criteria for; all 0 in the last."""
    num_worn_out: int
    """Wrongly ranked pairs that have been drawn as often as allowed."""


class PathPoint(ResponseModel):
    """The weights at one strength of the penalty."""

    c: float
    """Inverse strength."""
    num_nonzero: int
    """Criteria with a weight."""
    weights: dict[str, float]
    """Criterion id → weight, of those below that have one."""
    loss: float | None
    """Mean loss of left-out pairs, nats; null where no cross-validation was made."""
    standard_error: float | None
    """Of that loss over the parts."""


class WeighedCriterion(ResponseModel):
    """One candidate that is worth a look."""

    id: str
    """As in the rubric set, when it is kept."""
    theme: str
    """What is judged."""
    statement: str
    """What is asked."""
    weight: float
    """Log-odds that one more of p(yes) adds."""
    stability: float | None
    """Share of the halves in which it was selected; null where that was not asked for."""
    answered_share: float
    """Share of the scored pairs for which the judge answered it on both images."""


class SparseSelection(ResponseModel):
    """How the weights of the published set came about."""

    rounds: tuple[LearningRound, ...]
    """One by one."""
    best_round: int
    """The one whose set is published: the best on the validation part, of equal ones the best on the scored pairs."""
    path: tuple[PathPoint, ...]
    """Its regularisation path, strongest penalty first."""
    kept: tuple[WeighedCriterion, ...]
    """The set, largest weight first."""
    negative: tuple[WeighedCriterion, ...]
    """Criteria against which people decide: weights below zero by at least as much as the smallest kept one."""
    stable: tuple[WeighedCriterion, ...] | None
    """What stability selection would keep, most often selected first, with weights of its own; null = not asked for."""
    stable_accuracy: float | None
    """Of that set on the validation part; null where there is none, or nothing is stable."""
    dropped: tuple[WeighedCriterion, ...]
    """Criteria that the judge answered too rarely; their weights are 0."""
    redundancy: tuple[tuple[float, ...], ...]
    """Kept × kept: correlation of their score differences."""
    num_pairs: int
    """Pairs that were scored."""
    num_pairs_left_out: int
    """Scored pairs that a criterion in use had no answer for."""
