"""What can be wanted of the pixel judge as a model that writes: the questions of `services.judging.writing` as data."""

from dataclasses import dataclass
from typing import TypeAlias

from shared_schemas.rubrics import Language


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Images for one prompt, and what people said of them."""

    prompt: str
    images: tuple[bytes, ...]
    """PNGs; Image 1, 2 …"""
    source: bytes | None
    places: tuple[int, ...]
    """1 = best, one per image."""
    deserves: float | None
    """Of an image that stands alone: its score in its range, 0 to 1; None where no range was told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A numbered theme and all that is said under it."""

    theme: str
    tips: tuple[str, ...]

    @property
    def text(self) -> str:
        """Theme and tips."""
        return "\n".join((self.theme, *self.tips))


@dataclass(frozen=True, kw_only=True, slots=True)
class ProposalWanted:
    """Criteria that explain a label."""

    scene: Scene
    num_criteria: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RevisionWanted:
    """Better criteria."""

    scene: Scene
    criteria: tuple[Statement, ...]
    kept: tuple[bool, ...] | None
    """Per criterion, whether it points the right way; None where the critique does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureWanted:
    """Themes for statements."""

    statements: tuple[Statement, ...]
    max_themes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageWanted:
    """Which theme says each statement."""

    statements: tuple[Statement, ...]
    themes: tuple[Statement, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RationaleWanted:
    """Why the preferred image is better."""

    scene: Scene
    criteria: tuple[Statement, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReasoningWanted:
    """Observations, differences, and criteria that follow from them."""

    scene: Scene
    num_criteria: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisWanted:
    """What the criteria in use miss."""

    scene: Scene
    criteria: tuple[Statement, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionWanted:
    """Criteria that put a diagnosis to use."""

    scene: Scene
    criteria: tuple[Statement, ...]
    """Those in use."""
    diagnosis: str
    num_criteria: int


Wanted: TypeAlias = (
    ProposalWanted
    | RevisionWanted
    | StructureWanted
    | CoverageWanted
    | RationaleWanted
    | ReasoningWanted
    | DiagnosisWanted
    | ExtractionWanted
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WritingRequest:
    """What is wanted, in which language."""

    wanted: Wanted
    language: Language
