"""`POST /reward`: groups of candidates in; rewards, ties and failures out."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator

from shared_schemas.base import Digest, Identifier, RequestModel, ResponseModel, Text
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import Mode, RubricContent, RubricIdentity

MAX_PAIRWISE_CANDIDATES = 8
"""All K(K−1)/2 pairs of a group are judged: 28 at most."""


class Orders(StrEnum):
    """In which orders a pair is shown to the judge; `both` cancels its position bias exactly."""

    BOTH = "both"
    ADAPTIVE = "adaptive"
    """One order, picked by the digest of the unordered pair; the other too if the first could be the bias speaking."""
    SINGLE = "single"
    """One order, picked in the same way. The position bias stays in."""


class CachePolicy(StrEnum):
    """Whether stored verdicts may answer."""

    USE = "use"
    OFF = "off"


class Status(StrEnum):
    """What became of a group; only `scored` carries numbers."""

    SCORED = "scored"
    TIED = "tied"
    FAILED = "failed"


class Scheme(StrEnum):
    """What a reward is made of."""

    BINARY = "binary"
    """Two candidates: one number for the preferred, one for the other."""
    RANK = "rank"
    """Linear in the rank, from `preferred` for the best to `dispreferred` for the last; ties share the mean rank."""
    WIN_RATE = "win_rate"
    """Mean probability of being better than each other candidate, 0 to 1."""
    MARGIN = "margin"
    """Mean margin over the other candidates: nats (pairwise), score (pointwise)."""
    SCORE = "score"
    """The weighted score of the candidate alone; pointwise only."""


class RewardScheme(RequestModel):
    """How a verdict becomes rewards (RPO, arXiv 2605.08354: +1.0 for the preferred, −0.1 for the other)."""

    scheme: Scheme = Scheme.BINARY
    """What the rewards are made of."""
    preferred: float = Field(default=1.0, ge=-1e6, le=1e6)
    """Reward of the preferred candidate (`binary`), of the best (`rank`)."""
    dispreferred: float = Field(default=-0.1, ge=-1e6, le=1e6)
    """Reward of the other candidate (`binary`), of the last (`rank`)."""


class Group(RequestModel):
    """One prompt and the candidates made for it."""

    id: Identifier
    """Returned with the result; unique within the request."""
    prompt: Text
    """The prompt, or the edit instruction."""
    candidates: tuple[Identifier, ...] = Field(min_length=1, max_length=64)
    """Image ids, each the name of a part: 2 to 8 of them pairwise, 1 to 64 pointwise."""
    source: Identifier | None = None
    """Image id of the picture that was edited; required by rubric sets for `edit`, refused by those for `t2i`."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        """All images this group needs."""
        return self.candidates if self.source is None else (*self.candidates, self.source)


class Run(RequestModel):
    """Who asks: for the audit trail, never a metric label."""

    id: Identifier
    """The training run."""
    step: int | None = Field(default=None, ge=0, lt=2**63)
    """Its step."""
    rank: int | None = Field(default=None, ge=0, lt=2**63)
    """Its process."""


class RewardRequest(RequestModel):
    """The `meta` part of `POST /reward`."""

    rubric: Annotated[
        Annotated[str, Field(min_length=1, max_length=200), Tag("reference")]
        | Annotated[RubricContent, Tag("content")],
        Discriminator(lambda value: "reference" if isinstance(value, str) else "content"),
    ]
    """`name@alias`, `name@3`, `name` (= newest), `name@none`, or the content of a rubric set itself."""
    groups: tuple[Group, ...] = Field(min_length=1, max_length=1024)
    """Judged independently of each other."""
    mode: Mode | None = None
    """Default: the rubric set's own."""
    orders: Orders = Orders.BOTH
    """Which orders are asked."""
    reward: RewardScheme | None = None
    """How verdicts become rewards. Null = `score` pointwise; pairwise `binary`, or `rank` for more than two."""
    tie_margin: float | None = Field(default=None, ge=0.0)
    """Nats; |margin| below it is a tie. Pairwise only. Null = the calibrated value, else the server's default."""
    tie_score: float | None = Field(default=None, ge=0.0)
    """Scores nearer to each other than this are a tie. Pointwise only. Null = the calibrated value, else 0: only equal
    ones are."""
    per_criterion: bool = False
    """Also answer how well each candidate meets each criterion; pairwise this costs calls of its own."""
    cache: CachePolicy = CachePolicy.USE
    """`off` asks the judge again and stores nothing."""
    run: Run | None = None
    """Who asks."""
    deadline_seconds: float | None = Field(default=None, gt=0.0, le=3600.0)
    """What is not judged by then is `failed: judge-timeout`. Null = the server's default."""

    @model_validator(mode="after")
    def _group_ids_are_unique(self) -> Self:
        ids = [group.id for group in self.groups]
        if len(set(ids)) != len(ids):
            raise ValueError("group ids must be unique within a request")
        return self


class PairVerdict(ResponseModel):
    """What the judge said about one pair, both orders taken together (see docs/judging.md)."""

    first: int
    """Index of the first candidate."""
    second: int
    """Index of the second candidate."""
    winner: int | None = None
    """Index of the preferred candidate, before any tie margin; null when neither is."""
    margin: float | None
    """(l_12 − l_21)/2 in nats: positive = the first is preferred; free of additive position bias when both orders were
    asked. Null when the judge gives no log-probabilities."""
    p_first: float | None = Field(ge=0.0, le=1.0)
    """sigmoid(margin / temperature); null without a margin. The temperature is 1 unless `calibrated`."""
    position_bias: float | None
    """(l_12 + l_21)/2 in nats: positive = the judge favours what is shown first. Null unless both orders were asked."""
    consistent: bool | None
    """Whether both orders name the same winner; null unless both were asked."""
    label_mass: float | None = Field(ge=0.0)
    """Probability the judge gave to the labels at all, the smaller of the orders asked; null without log-probs."""
    cached: bool
    """Whether all of it was answered from the cache."""


class CriterionScores(ResponseModel):
    """How well one candidate meets each criterion of the rubric set."""

    candidate: int
    """Index of the candidate."""
    scores: dict[str, float]
    """Criterion id → p(yes) / (p(yes) + p(no)), 0 to 1."""
    label_mass: float = Field(ge=0.0)
    """Probability the judge gave to yes and no at all, the smallest over the criteria."""
    cached: bool
    """Whether all of it was answered from the cache."""


class GroupError(ResponseModel):
    """Why a group has no verdict."""

    type: FailureType
    """A stable slug."""
    detail: str
    """In words."""
    retryable: bool
    """Whether the same request can succeed later."""


class GroupResult(ResponseModel):
    """What became of one group."""

    id: str
    """The group's id."""
    status: Status
    """`scored`, `tied` or `failed`."""
    rewards: tuple[float, ...] | None = None
    """One per candidate when scored, else null."""
    ranks: tuple[float, ...] | None = None
    """1 = best, one per candidate when scored, else null; candidates that tie share the mean of their ranks."""
    scores: tuple[float, ...] | None = None
    """Pointwise: Σ weight × p(yes) over the criteria, one per candidate; null pairwise and when failed."""
    pairs: tuple[PairVerdict, ...] = ()
    """Pairwise: the verdicts behind it; those that failed are left out."""
    criteria: tuple[CriterionScores, ...] = ()
    """One per candidate when the request asked `per_criterion`."""
    error: GroupError | None = None
    """Present exactly when failed."""

    @model_validator(mode="after")
    def _only_scored_groups_have_numbers(self) -> Self:
        if (self.rewards is not None) != (self.status is Status.SCORED):
            raise ValueError("rewards belong to scored groups, and to no others")
        if (self.error is not None) != (self.status is Status.FAILED):
            raise ValueError("an error belongs to failed groups, and to no others")
        return self


class JudgeIdentity(ResponseModel):
    """Which judge answered."""

    model: str
    """The model id it serves."""
    fingerprint: Digest
    """Changes when the model, its server or our prompt template changes."""


class Usage(ResponseModel):
    """What a request cost."""

    judge_calls: int = 0
    """Calls that reached the judge for this request."""
    cached_verdicts: int = 0
    """Answers (one per order) taken from the cache."""
    prompt_tokens: int = 0
    """Tokens the judge read."""
    completion_tokens: int = 0
    """Tokens the judge wrote."""


class Timing(ResponseModel):
    """Where the time went, in milliseconds."""

    total_ms: float
    """From the first byte handled to the answer."""
    judge_ms: float
    """Waiting for the judge's answers."""
    queue_ms: float
    """The longest wait of a call for a free slot at the judge."""
    decode_ms: float
    """Decoding, checking and hashing images."""
    overhead_ms: float
    """The rest."""


class RewardResponse(ResponseModel):
    """Answer of `POST /reward`; results in the order of the groups."""

    rubric: RubricIdentity
    """Resolved once, at admission."""
    judge: JudgeIdentity
    """Who judged."""
    calibrated: bool = False
    """Whether `p_first`, `win_rate` rewards, and the tie band unless it was requested, follow what was fitted to
    labelled pairs for this rubric content and judge."""
    results: tuple[GroupResult, ...]
    """One per group."""
    usage: Usage
    """What it cost."""
    timing: Timing
    """Where the time went."""
