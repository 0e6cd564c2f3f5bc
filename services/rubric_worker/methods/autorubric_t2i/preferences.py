"""A pair and which of its images people prefer: what the method learns from.

The one rule: the name under which draws are made (`key`) and what is put to the judge (`images`) do not depend on the
label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.rubric_worker.labelled_pairs import ImagePair
from services.rubric_worker.methods.labels import LearningRow, LoneImage, Sign, known_pairs
from services.storage.splits import prompt_key
from shared_schemas.rubrics import json_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """One pair with its label."""

    pair: ImagePair
    sign: Sign

    @property
    def key(self) -> str:
        """Names the pair by what it shows."""
        return json_digest([self.pair.prompt, self.pair.source, self.pair.first, self.pair.second])

    @property
    def cluster(self) -> str:
        """Pairs of equal prompts hang together."""
        return prompt_key(self.pair.prompt)

    @property
    def images(self) -> tuple[LoneImage, LoneImage]:
        """Its two images, each alone, as they stand in the pair."""
        first, second = (
            LoneImage(prompt=self.pair.prompt, image=image, source=self.pair.source)
            for image in (self.pair.first, self.pair.second)
        )
        return first, second

    @property
    def ranked(self) -> tuple[LoneImage, LoneImage]:
        """The preferred image and the other one."""
        first, second = self.images
        return (first, second) if self.sign == 1 else (second, first)


def preferences(rows: Sequence[LearningRow]) -> tuple[Preference, ...]:
    """All pairs of these rows, each once, ordered by their keys."""
    found = (
        Preference(pair=known.shown, sign=known.sign)
        for known in known_pairs(rows)
        if isinstance(known.shown, ImagePair)
    )
    return tuple(sorted(dict.fromkeys(found), key=lambda preference: (preference.key, preference.sign)))
