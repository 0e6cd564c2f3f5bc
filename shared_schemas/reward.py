"""`POST /reward`: groups of candidates in; rewards, ties and failures out."""

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from shared_schemas.base import Digest, Identifier, RequestModel, ResponseModel, Text
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import Mode, RubricIdentity


class Orders(StrEnum):
    """In which orders a pair is shown to the judge; `both` cancels its position bias exactly."""

    BOTH = "both"


class CachePolicy(StrEnum):
    """Whether stored verdicts may answer."""

    USE = "use"
    OFF = "off"


class Status(StrEnum):
    """What became of a group; only `scored` carries numbers."""

    SCORED = "scored"
    TIED = "tied"
    FAILED = "failed"


class RewardScheme(RequestModel):
    """How a verdict becomes rewards (RPO, arXiv 2605.08354: +1.0 for the preferred, −0.1 for the other)."""

    scheme: Literal["binary"] = "binary"
    """`binary`: one number for the preferred candidate, one for the other."""
    preferred: float = 1.0
    """Reward of the preferred candidate."""
    dispreferred: float = -0.1
    """Reward of the other candidate."""


class Group(RequestModel):
    """One prompt and the two candidates made for it."""

    id: Identifier
    """Returned with the result; unique within the request."""
    prompt: Text
    """The prompt, or the edit instruction."""
    candidates: tuple[Identifier, ...] = Field(min_length=2, max_length=2)
    """Image ids, each the name of a part."""
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
    step: int | None = Field(default=None, ge=0)
    """Its step."""
    rank: int | None = Field(default=None, ge=0)
    """Its process."""


class RewardRequest(RequestModel):
    """The `meta` part of `POST /reward`."""

    rubric: str = Field(min_length=1, max_length=200)
    """`name@alias`, `name@3`, `name` (= newest) or `name@none`."""
    groups: tuple[Group, ...] = Field(min_length=1, max_length=1024)
    """Judged independently of each other."""
    mode: Mode | None = None
    """Default: the rubric set's own."""
    orders: Orders = Orders.BOTH
    """Which orders are asked."""
    reward: RewardScheme = RewardScheme()
    """How verdicts become rewards."""
    tie_margin: float | None = Field(default=None, ge=0.0)
    """Nats; |margin| below it is a tie. Null = the server's default."""
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
    margin: float
    """(l_12 − l_21)/2 in nats: positive = the first is preferred; free of additive position bias."""
    p_first: float = Field(ge=0.0, le=1.0)
    """sigmoid(margin / temperature)."""
    position_bias: float
    """(l_12 + l_21)/2 in nats: positive = the judge favours whatever is shown first."""
    consistent: bool
    """Whether both orders name the same winner."""
    label_mass: float = Field(ge=0.0)
    """Probability the judge gave to the labels at all, the smaller of both orders."""
    cached: bool
    """Whether both orders were answered from the cache."""


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
    ranks: tuple[int, ...] | None = None
    """1 = best, one per candidate when scored, else null."""
    pairs: tuple[PairVerdict, ...] = ()
    """The verdicts behind it; empty when failed."""
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
    results: tuple[GroupResult, ...]
    """One per group."""
    usage: Usage
    """What it cost."""
    timing: Timing
    """Where the time went."""
