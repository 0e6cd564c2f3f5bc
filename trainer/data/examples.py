"""What a group of candidates is made for. The one rule: equal content is equal, wherever its files lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared_schemas.rubrics import json_digest


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A picture that an edit starts from; equal files are equal, wherever they lie."""

    digest: str
    """SHA-256 of the file."""
    path: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Example:
    """What a group of candidates is made for: a prompt, or an edit instruction with the pictures it is about."""

    prompt: str
    sources: tuple[SourceImage, ...] = ()
    """The first is the one that is edited, and shown to the judge; others are references."""


def data_digest(examples: Sequence[Example]) -> str:
    """Changes with any prompt, any picture and their order; not with where the files lie."""
    return json_digest([_content(example) for example in examples])


def example_key(example: Example) -> str:
    """Content address of one example."""
    return json_digest(_content(example))


def _content(example: Example) -> list[str]:
    return [example.prompt, *(source.digest for source in example.sources)]
