"""What the judge can be asked, and what comes of it: the types between `Judge` and everybody who uses it."""

from dataclasses import dataclass

from services.judging.answers import Answer
from services.judging.images import JudgeImage
from services.judging.verdicts import Verdict
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent

FIRST_SECOND = "first-second"
SECOND_FIRST = "second-first"
"""Names of the two orders in `Asked.question`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownExample:
    """A labelled pair that the judge sees before the question, as its rubric's guide asks for."""

    prompt: str
    """The prompt, or the edit instruction."""
    source: JudgeImage | None
    """The picture that was edited; given exactly for edits."""
    preferred: JudgeImage
    """The better image."""
    dispreferred: JudgeImage
    """The other one."""
    rationale: str
    """Why it is better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairQuestion:
    """Which of two images is better for this prompt, by this rubric?"""

    prompt: str
    """The prompt, or the edit instruction."""
    first: JudgeImage
    """First candidate; a positive margin prefers it."""
    second: JudgeImage
    """Second candidate."""
    source: JudgeImage | None
    """The picture that was edited; given exactly when the rubric is for `edit`."""
    rubric: RubricContent
    """What to judge by; no criteria = the judge's own taste."""
    guide: tuple[ShownExample, ...] = ()
    """The rubric's exemplars with their images, in its order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageQuestion:
    """How well does one image meet each criterion of this rubric?"""

    prompt: str
    """The prompt, or the edit instruction."""
    image: JudgeImage
    """The candidate."""
    source: JudgeImage | None
    """The picture that was edited; given exactly when the rubric is for `edit`."""
    rubric: RubricContent
    """At least one criterion; each is asked alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One answer, and how it was come by."""

    key: str
    """Its judgement key."""
    question: str
    """`FIRST_SECOND`, `SECOND_FIRST`, or the id of a criterion."""
    answer: Answer
    """What the judge said."""
    cached: bool
    """Whether it came from the cache."""
    seconds: float | None
    """How long the judge took; None when the cache or another caller's call answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a question took."""

    judge_calls: int = 0
    """Calls that reached the judge, retries included; 0 when the cache or somebody else's call answered."""
    cached_answers: int = 0
    """Answers from the cache."""
    prompt_tokens: int = 0
    """Tokens the judge read for these calls."""
    completion_tokens: int = 0
    """Tokens the judge wrote for them."""
    queue_seconds: float = 0.0
    """The longest wait of one of its calls for a free slot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairAnswer:
    """The verdict on one pair."""

    verdict: Verdict
    """The orders that were asked, taken together."""
    asked: tuple[Asked, ...]
    """One or two answers."""
    cost: Cost

    @property
    def cached(self) -> bool:
        """Whether all of it came from the cache."""
        return all(asked.cached for asked in self.asked)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageAnswer:
    """How well one image meets each criterion."""

    scores: dict[str, float]
    """Criterion id → p(yes) / (p(yes) + p(no)), in the order of the rubric."""
    label_mass: float
    """The smallest over the criteria."""
    asked: tuple[Asked, ...]
    """One answer per criterion."""
    cost: Cost

    @property
    def cached(self) -> bool:
        """Whether all of it came from the cache."""
        return all(asked.cached for asked in self.asked)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeFailure:
    """Why there is no verdict."""

    type: FailureType
    """A stable slug that says whether asking again can help."""
    detail: str
    """In words, safe for clients."""
    asked: tuple[Asked, ...] = ()
    """The answers that did come."""
    cost: Cost = Cost()
    """What is known to have been spent."""
