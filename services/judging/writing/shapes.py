"""What is put to a model that writes, and the shapes of what it writes back.

Owns types alone. The answers are plain enough for OpenAI's strict mode and for every grammar: each property is
required, none has a default, and limits on length and number are asked for in words. Their docstrings are part of the
schema that the model reads.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from services.judging.images import JudgeImage
from shared_schemas.rubrics import Language, Mode, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledImages:
    """Images for one prompt, and what people said of them."""

    prompt: str
    """The prompt, or the edit instruction."""
    images: tuple[JudgeImage, ...]
    """At least one; shown as Image 1, 2 … in this order."""
    source: JudgeImage | None
    """The picture that was edited; given exactly for edits."""
    places: tuple[int, ...]
    """One per image, 1 = best; equal = people found them equally good."""
    scores: tuple[float, ...] | None
    """One per image, higher = better, where people gave scores; an image that stands alone has one."""

    def __post_init__(self) -> None:
        """Raises `ValueError` when the numbers of images, places and scores do not fit."""
        num_images = len(self.images)
        if num_images == 0 or len(self.places) != num_images:
            raise ValueError("there is at least one image, and each has a place")
        if self.scores is not None and len(self.scores) != num_images:
            raise ValueError("all images have a score, or none has")
        if num_images == 1 and self.scores is None:
            raise ValueError("an image that stands alone needs a score")

    @property
    def is_tie(self) -> bool:
        """Whether there are several images and people found all of them equally good."""
        return len(self.images) > 1 and len(set(self.places)) == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What the criteria are for: the same for all images of a run."""

    task: Task
    mode: Mode
    """How the criteria will judge."""
    language: Language
    """Of the criteria, and of what the model is told."""
    task_description: str
    """What the images are for; may be empty."""
    min_score: float | None
    """Lowest score that people could give, where it is known."""
    max_score: float | None
    """Highest one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Critique:
    """How a judge did with some criteria that was not told what people said."""

    margin: float | None
    """Of the preferred image over the other, mean of both orders, nats: below 0 it was wrong. None = no comparison."""
    is_tie: bool
    """Whether the margin is too small to count."""
    criterion_scores: tuple[tuple[float, ...], ...] | None
    """Criteria × images: p(yes), asked one by one; None = not asked."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProposedCriterion(_Answer):
    """What is looked at, in a few words, and one statement that an image meets or does not meet."""

    theme: str
    statement: str


class Proposal(_Answer):
    """The criteria, as many as were asked for."""

    criteria: tuple[ProposedCriterion, ...]


class StructuredTheme(_Answer):
    """A theme in a few words, its tips, and the numbers of the statements that the tips say."""

    theme: str
    tips: tuple[str, ...]
    covers: tuple[int, ...]


class Structure(_Answer):
    """The themes in order, overall alignment first, fine detail last."""

    themes: tuple[StructuredTheme, ...]


class CoverageEntry(_Answer):
    """The number of a statement, and the number of the theme whose tips say it; theme 0 when no tip does."""

    criterion: int
    theme: int


class Coverage(_Answer):
    """One entry per statement, in the order of the statements."""

    entries: tuple[CoverageEntry, ...]


class Rationale(_Answer):
    """One or two sentences that say why the better image is better."""

    rationale: str


class Reasoned(_Answer):
    """What can be seen in each image, the visible differences that justify the label, and criteria drawn from them."""

    observations: tuple[str, ...]
    differences: tuple[str, ...]
    criteria: tuple[ProposedCriterion, ...]


class Diagnosis(_Answer):
    """The dimension that the criteria in use miss, in a few words, and what can be seen of it in these images."""

    dimension: str
    evidence: str
