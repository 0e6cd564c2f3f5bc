"""Asking for rubric sets to be learned, and what comes of it: `POST /rubrics/{name}/learn` and its job's result."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self, TypeAlias

from pydantic import Field, ValidationInfo, field_validator, model_validator

from shared_schemas.autorubric import AutoRubricParameters, SparseSelection
from shared_schemas.base import OptionalText, RequestModel, ResponseModel
from shared_schemas.embedding import Embedding
from shared_schemas.evaluations import EvaluationReport, Fractions
from shared_schemas.rubrics import AliasName, Language, Mode, RubricIdentity, Task


class Method(StrEnum):
    """How rubric sets are learned."""

    ARR = "arr"
    """Propose, verify, revise, select, structure: a set that compares two images, or scores one."""
    AUTORUBRIC_T2I = "autorubric_t2i"
    """Many candidates, of which a sparse regression weighs a few: a set that scores single images."""


class LearnFailure(StrEnum):
    """Reasons why a learning job can fail, beside those of any job."""

    TOO_FEW_PAIRS = "too-few-pairs"
    ALL_TIES = "all-ties"
    TASK_MISMATCH = "task-mismatch"
    SCORES_OUT_OF_RANGE = "scores-out-of-range"
    NOTHING_VERIFIED = "nothing-verified"
    NO_BETTER_THAN_NONE = "no-better-than-none"
    TOO_MANY_FAILURES = "too-many-failures"
    JUDGE_UNAVAILABLE = "judge-unavailable"
    CHAT_UNAVAILABLE = "chat-unavailable"
    DATASET_GONE = "dataset-gone"
    NOTHING_PROPOSED = "nothing-proposed"
    NOTHING_SCORED = "nothing-scored"
    NOTHING_SELECTED = "nothing-selected"


class ArrParameters(RequestModel):
    """Parameters of the method `arr`. In brackets: the reference implementation's names."""

    mode: Mode = Mode.PAIRWISE
    """How the learned set judges [grader_mode]."""
    language: Language = Language.EN
    """Language of the criteria and of every prompt."""
    task_description: OptionalText = Field(default="", max_length=2000)
    """What the images are for, told to the proposer and the judge, and part of the set [task_description]."""
    criteria_per_pair: int = Field(default=5, ge=1, le=20)
    """Criteria proposed for each training pair [query_specific_generate_number]."""
    max_revisions: int = Field(default=5, ge=0, le=20)
    """Rounds of revision before the criteria of a pair are given up [max_epochs]."""
    other_pairs: int = Field(default=2, ge=0, le=10)
    """Other training pairs on which the criteria of a pair must hold, too."""
    max_criteria: int = Field(default=10, ge=1, le=64)
    """Criteria that are selected from all that were verified."""
    structure: bool = True
    """Whether the selected criteria are grouped into themes with tips [enable_categorization]."""
    max_themes: int = Field(default=5, ge=1, le=20)
    """Themes at most [categories_number]."""
    min_score: float | None = None
    """Lowest score that people could give, for rows with scores [min_score]. Null = the lowest in the data."""
    max_score: float | None = None
    """Highest one [max_score]. Null = the highest in the data."""
    sample_above: int = Field(default=100, ge=2)
    """With more training rows than this, they are taken in batches until nothing new is learned [sampling_mode]."""
    batch_size: int = Field(default=20, ge=1)
    """Rows of one batch."""
    min_relative_gain: float = Field(default=0.05, ge=0, lt=1)
    """Selection, and sampling, stop when the coding rate grows by less than this share of its first growth
    [min_increment_threshold]."""
    embedding: Embedding = Embedding.TFIDF
    """How criteria are compared."""
    exemplars: int = Field(default=0, ge=0, le=4)
    """Labelled pairs shown to the judge with the criteria ("ARR with guide"), taken from rows used for nothing else."""
    fractions: Fractions = Field(default_factory=Fractions)
    """How the data is shared out."""
    significance: float = Field(default=0.05, gt=0, lt=1)
    """The set must beat the judge without rubrics on held-out pairs, at this level of a one-sided paired test."""
    max_failed_share: float = Field(default=0.2, ge=0, le=1)
    """Share of failed items of a stage at which the job gives up."""

    @model_validator(mode="after")
    def _make_sense_together(self) -> Self:
        if self.exemplars and self.mode is Mode.POINTWISE:
            raise ValueError("exemplars are shown with pairs; ask for none in the mode `pointwise`")
        if self.min_score is not None and self.max_score is not None and self.min_score >= self.max_score:
            raise ValueError("min_score must be below max_score")
        return self


Parameters: TypeAlias = ArrParameters | AutoRubricParameters

PARAMETERS: Mapping[Method, type[ArrParameters] | type[AutoRubricParameters]] = {
    Method.ARR: ArrParameters,
    Method.AUTORUBRIC_T2I: AutoRubricParameters,
}
"""What each method takes."""


def _default_parameters(request: dict[str, Any]) -> Parameters:
    return PARAMETERS[request.get("method", Method.ARR)]()


class LearnRequest(RequestModel):
    """Body of `POST /rubrics/{name}/learn`."""

    dataset: int = Field(ge=1, lt=2**63)
    """Labelled pairs: the id of a dataset."""
    method: Method = Method.ARR
    """How."""
    task: Task | None = None
    """What the images are; null = as the dataset says. Anything else than that is refused."""
    parameters: Parameters = Field(default_factory=_default_parameters)
    """The method's own; any others are refused."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Everything random follows from it: equal seeds give equal rubric sets."""
    alias: AliasName | None = None
    """An alias that is pointed at the new version when it is published."""
    publish_anyway: bool = False
    """Publish also what is no better than the judge without rubrics; the job has `succeeded` then and says so."""

    @field_validator("parameters", mode="before")
    @classmethod
    def _parameters_are_of_the_method(cls, parameters: Any, info: ValidationInfo) -> Any:
        method = info.data.get("method")  # none = it is no method, which is refused by itself
        return _default_parameters({}) if method is None else PARAMETERS[method].model_validate(parameters)

    @property
    def mode(self) -> Mode:
        """How the learned set judges."""
        return self.parameters.mode if isinstance(self.parameters, ArrParameters) else Mode.POINTWISE


class StageCost(ResponseModel):
    """What one stage took."""

    name: str
    """The stage."""
    judge_calls: int
    """Calls paid for, at the judge and the chat model."""
    tokens: int
    """Tokens of those calls."""
    seconds: float
    """Wall time."""


class ProposalCounts(ResponseModel):
    """What became of the criteria that were proposed, one set of them per training row."""

    proposed: int
    """Rows for which criteria were proposed."""
    verified_at_once: int
    """Sets that were verified as they were proposed."""
    verified_after_revision: int
    """Sets that were verified after one revision or more."""
    discarded: int
    """Sets that were never verified, and rows for which none could be had."""
    refused_criteria: int
    """Single criteria that the lint refused."""


class LearnResult(ResponseModel):
    """Result of a learning job; when it failed, the evidence."""

    rubric: RubricIdentity | None
    """The published version; null when nothing was published."""
    is_new: bool
    """Whether the version is new: equal content is published once."""
    proposals: ProposalCounts
    """What became of the proposals; all 0 for methods that verify none."""
    num_candidates: int
    """Criteria to select from, each once: those verified (`arr`), those weighed (`autorubric_t2i`)."""
    num_selected: int
    """Those that were selected."""
    structured: bool
    """Whether the set is grouped into themes."""
    structure_problem: str | None
    """Why it is not, when it should be: what got lost, or what was verified no more."""
    better_than_none: bool
    """Whether the set beats the judge without rubrics on held-out pairs."""
    p_value: float | None
    """Of the one-sided paired test against the judge without rubrics; null when there was nothing to compare."""
    report: EvaluationReport | None
    """The set beside the judge without rubrics on the test part; null when it did not come to that."""
    stages: tuple[StageCost, ...]
    """What each stage took."""
    sparse: SparseSelection | None = None
    """How the weights came about; null for methods that do not weigh."""
