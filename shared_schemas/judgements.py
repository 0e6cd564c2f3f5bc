"""`GET /judgements`: what was judged, by whom, for whom, and what came of it."""

from datetime import datetime

from pydantic import Field

from shared_schemas.base import Digest, ResponseModel
from shared_schemas.problems import FailureType
from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import Mode, RubricContent, RubricIdentity


class JudgementAnswer(ResponseModel):
    """One answer of the judge: a pair in one order, or one criterion on one image."""

    key: Digest
    """The judgement key: digest of everything the answer depends on."""
    question: str
    """`first-second`, `second-first`, or the id of the criterion."""
    log_p_first: float | None
    """log p of the first label ("1", "yes"), nats; null without log-probabilities."""
    log_p_second: float | None
    """log p of the second label ("2", "no"), nats; null without log-probabilities."""
    label_mass: float | None
    """Probability of both labels together; null without log-probabilities."""
    chose_first: bool
    """Whether the first label was the likelier one."""
    cached: bool
    """Whether it came from the cache."""
    latency_ms: float | None
    """How long the judge took; null when the cache, or a call that somebody else had made, answered."""


class Judgement(ResponseModel):
    """One pair, or one candidate with all criteria, put before the judge."""

    id: int
    """Grows with time."""
    created: datetime
    """When it was judged (UTC)."""
    tenant: str
    """Whose key asked; `local` on a service without keys."""
    run: str | None
    """The training run, in the client's words."""
    step: int | None
    """Its step."""
    rank: int | None
    """Its process."""
    request_id: str | None
    """The `X-Request-Id` of the request."""
    group: str
    """The group's id in that request."""
    mode: Mode
    """Pairwise: `first` and `second` were compared. Pointwise: `first` was scored."""
    rubric: RubricIdentity
    """What it was judged by."""
    judge: JudgeIdentity
    """Who judged."""
    prompt: str
    """The prompt, or the edit instruction."""
    first: Digest
    """Digest of the first image's pixels."""
    second: Digest | None
    """Digest of the second image's pixels; null pointwise."""
    source: Digest | None
    """Digest of the edited picture's pixels."""
    answers: tuple[JudgementAnswer, ...]
    """What the judge said; empty when it failed before the first answer."""
    error: FailureType | None
    """Why there is no verdict, when there is none."""
    images_kept: bool
    """Whether the images are still there, so that it can be replayed."""


class JudgementPage(ResponseModel):
    """One page of `GET /judgements`, newest first."""

    items: tuple[Judgement, ...]
    """The judgements of this page."""
    next: int | None
    """Pass as `before` to get the next page; null on the last."""


class JudgementDetail(Judgement):
    """One judgement with all that is needed to judge it again."""

    rubric_content: RubricContent | None
    """What the rubric set said; null when it came with the request and the images were not kept."""
    images: dict[str, str] = Field(default_factory=dict)
    """`first`, `second`, `source` → PNG in base64, where kept."""
