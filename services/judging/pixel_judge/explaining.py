"""Which properties explain what people said of some images: those in which the better image leads."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from services.judging.pixel_judge.gallery import Gallery
from services.judging.pixel_judge.properties import Property
from services.judging.pixel_judge.wanted import Scene

CLEAR = 0.05
"""Lead in a property's score (0 to 1) from which on it explains a label."""


def explaining_by(leads: Mapping[Property, float]) -> list[Property]:
    """Properties that explain the label, clearest first."""
    return sorted((prop for prop, lead in leads.items() if lead >= CLEAR), key=lambda prop: -leads[prop])


def leads_of(scene: Scene, gallery: Gallery) -> dict[Property, float]:
    """How well each property that can be measured agrees with what people said, −1 to 1."""
    sights = [gallery.sight(png, prompt=scene.prompt, source=scene.source) for png in scene.images]
    leads = {}
    for prop in Property:
        scores = [score for sight in sights if (score := sight.score(prop)) is not None]
        if len(scores) == len(sights):
            leads[prop] = _lead(scores, scene)
    return leads


def _lead(scores: Sequence[float], scene: Scene) -> float:
    """Mean lead of the better of every two; of a tie, how alike they are; of one image, how well it fits its score."""
    if len(scores) == 1:
        return scores[0] - 0.5 if scene.deserves is None or scene.deserves >= 0.5 else 0.5 - scores[0]
    ranked = sorted(zip(scene.places, scores, strict=True))
    leads = [better - worse for (place, better), (other, worse) in combinations(ranked, 2) if place != other]
    if not leads:
        return CLEAR + min(scores) if max(scores) - min(scores) < CLEAR else -(max(scores) - min(scores))
    return sum(leads) / len(leads)
