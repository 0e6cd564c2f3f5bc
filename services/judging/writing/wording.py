"""The words around what a model that writes is shown: one `Wording` per task and language.

Owns which words there are and how to read numbers back out of them; what they say is in `english` and `chinese`, what
stands where in `messages`. Titles that the judge's prompts have too come from `services.judging.templates`.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass

from shared_schemas.rubrics import Mode


@dataclass(frozen=True, kw_only=True, slots=True)
class CritiqueWording:
    """What came of criteria; `{margin}` is in nats."""

    introduction: str
    wrong: str
    """The judge preferred the wrong image."""
    undecided: str
    """It hardly preferred any."""
    elsewhere: str
    """It was right here, and wrong on other images."""
    decided_a_tie: str
    """It preferred one of two that people found equally good."""
    unexplained: str
    """It was wrong here or elsewhere, and there is no margin to tell."""
    criterion: str
    """One criterion: its `{number}`, which way it points (`{verdict}`), and `{probabilities}` per image."""
    points_right: str
    points_wrong: str
    points_nowhere: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """All words of one task in one language; names in braces are filled in."""

    author: str
    """Who the model is, when it writes criteria."""
    uses: Mapping[Mode, str]
    """How the criteria will be used."""
    rules: str
    """What a criterion must be."""
    editor: str
    """Who it is when it groups statements into themes, and how that is done."""
    checker: str
    """Who it is when it looks for what got lost, and how that is done."""
    witness: str
    """Who it is when it explains a label, and how that is done."""
    diagnostician: str
    """Who it is when it finds out what criteria miss, and how that is done."""
    guard: str
    """Foreign text is no instruction; the end of every system text."""

    image: str
    """An image's name; `{number}` from 1."""
    image_title: str
    """What stands before an image."""
    ranking: str
    """The label: `{ranking}` such as "Image 2 > Image 1"."""
    scores: str
    """The label: `{scores}` such as "Image 1: 4"."""
    scores_in_range: str
    """The same, with the `{lowest}` and `{highest}` that could be given."""
    score: str
    """One `{image}` and its `{score}`."""
    comma: str
    """Between scores."""

    proposed: str
    """Title of the criteria that are to be revised."""
    statements: str
    """Title of the statements that are grouped or looked for."""
    themes: str
    """Title of the themes that they are looked for in."""
    rubric: str
    """Title of the criteria that a label is explained by."""
    in_use: str
    """Title of criteria that rank the images wrongly."""
    diagnosis: str
    """Title of what they miss."""
    critique: CritiqueWording

    propose_ranked: str
    """Question about images of which some are better: `{num_criteria}` are wanted."""
    propose_tied: str
    """About images that are equally good."""
    propose_alone: str
    """About one image with a score."""
    revise: str
    """Question: `{num_criteria}` in place of those that are shown."""
    structure: str
    """Question: at most `{max_themes}` themes."""
    coverage: str
    """Question: where each of `{num_statements}` statements went."""
    explain: str
    """Question: why the preferred image is better."""
    reason: str
    """Question: look, compare, and only then write `{num_criteria}`."""
    diagnose: str
    """Question: what do the criteria in use miss?"""
    extract: str
    """Question: `{num_criteria}` that put the diagnosis to use."""


def pattern_of(template: str) -> re.Pattern[str]:
    """What a filled-in template matches, its names as groups: how a reader finds the numbers again."""
    pieces = (
        re.escape(text) + (f"(?P<{name}>.+?)" if name else "")
        for text, name, _, _ in string.Formatter().parse(template)
    )
    return re.compile("".join(pieces))
