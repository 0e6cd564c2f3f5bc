"""Building the `POST /reward` call out of what the caller passed: shared by both clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError

from reward_client import calls
from reward_client.calls import Call
from reward_client.groups import CandidateGroup, encode_groups
from reward_client.result import RewardResult
from shared_schemas.messages import in_one_line
from shared_schemas.reward import CachePolicy, Orders, RewardRequest, RewardResponse, RewardScheme, Run
from shared_schemas.rubrics import Mode, RubricContent, RubricIdentity

ANSWER_GRACE = timedelta(seconds=5)
"""How much longer than the service's deadline the client waits, so that it hears `judge-timeout` from the service."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardOptions:
    """Everything about a reward request but its groups; see `RewardClient.reward`."""

    rubric: RubricIdentity | RubricContent | str
    mode: Mode | None = None
    orders: Orders = Orders.BOTH
    reward: RewardScheme | None = None
    tie_margin: float | None = None
    tie_score: float | None = None
    per_criterion: bool = False
    run: Run | None = None
    cache: CachePolicy = CachePolicy.USE
    deadline_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedReward:
    """A call ready to be sent, and what is needed to wrap its answer."""

    call: Call[RewardResponse]
    num_candidates: int

    def wrap(self, response: RewardResponse) -> RewardResult:
        """The result that the caller gets."""
        return RewardResult(response=response, num_candidates=self.num_candidates)


def prepare_reward(groups: Sequence[CandidateGroup], options: RewardOptions) -> PreparedReward:
    """Encode every image (the slow part) and build the call. Raises `ValueError` or `TypeError` for what is wrong."""
    encoded = encode_groups(groups)
    try:
        request = RewardRequest(
            rubric=_rubric_field(options.rubric),
            groups=encoded.groups,
            mode=options.mode,
            orders=options.orders,
            reward=options.reward,
            tie_margin=options.tie_margin,
            tie_score=options.tie_score,
            per_criterion=options.per_criterion,
            run=options.run,
            cache=options.cache,
            deadline_seconds=options.deadline_seconds,
        )
    except ValidationError as error:
        raise ValueError(in_one_line(error)) from error
    patience = None
    if options.deadline_seconds is not None:
        patience = timedelta(seconds=options.deadline_seconds) + ANSWER_GRACE
    call = calls.reward(request, encoded.images, deadline=patience)
    return PreparedReward(call=call, num_candidates=encoded.num_candidates)


def _rubric_field(rubric: RubricIdentity | RubricContent | str) -> str | RubricContent:
    if not isinstance(rubric, RubricIdentity):
        return rubric
    if rubric.name is None:
        raise ValueError("the rubric set of this identity came with a request and has no name: pass its content")
    return rubric.reference
