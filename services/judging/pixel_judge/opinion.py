"""From a question to a score: the properties that the rubric names, on one image or compared between two.

Owns the weighing; the one rule is that a property nobody named has no say.
"""

from collections import defaultdict
from collections.abc import Sequence

from services.judging.pixel_judge.gallery import Gallery
from services.judging.pixel_judge.parsing import Check, Comparison, WrittenCriterion
from services.judging.pixel_judge.properties import Property
from services.judging.pixel_judge.vocabulary import named_properties

_OWN_TASTE = {Property.BRIGHTNESS: 0.5, Property.CONTRAST: 0.5}
"""What an empty rubric falls back to: a fixed prior that knows nothing of the prompt."""


def preference(question: Comparison, gallery: Gallery) -> float:
    """Weighted mean of (score of Image 1 − score of Image 2) over the named properties, −1 to 1.

    0 when the rubric names nothing that can be measured. Raises `PictureError` for an image that cannot be decoded.
    """
    first, second = (
        gallery.sight(png, prompt=question.prompt, source=question.source) for png in (question.first, question.second)
    )
    weighted = total = 0.0
    for prop, weight in property_weights(question.criteria).items():
        of_first, of_second = first.score(prop), second.score(prop)
        if of_first is not None and of_second is not None:
            weighted += weight * (of_first - of_second)
            total += weight
    return weighted / total if total else 0.0


def approval(question: Check, gallery: Gallery) -> float:
    """2·(mean score of the properties that the criterion names) − 1: 1 = fully met, −1 = not at all.

    0 when it names nothing that can be measured. Raises `PictureError` for an image that cannot be decoded.
    """
    sight = gallery.sight(question.image, prompt=question.prompt, source=question.source)
    scores = [score for prop in property_weights([question.criterion]) if (score := sight.score(prop)) is not None]
    return 2 * sum(scores) / len(scores) - 1 if scores else 0.0


def property_weights(criteria: Sequence[WrittenCriterion]) -> dict[Property, float]:
    """Each criterion spreads its weight evenly over the properties that its theme and tips name."""
    if not criteria:
        return dict(_OWN_TASTE)
    weights: defaultdict[Property, float] = defaultdict(float)
    for criterion in criteria:
        named = named_properties("\n".join((criterion.theme, *criterion.tips)))
        for prop in sorted(named):
            weights[prop] += criterion.weight / len(named)
    return dict(weights)
