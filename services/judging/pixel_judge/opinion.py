"""From a question to log-odds: the properties that the rubric names, compared between both images.

Owns the weighing; the one rule is that a property nobody named has no say.
"""

from collections import defaultdict
from collections.abc import Sequence

from services.judging.pixel_judge.parsing import Question, WrittenCriterion
from services.judging.pixel_judge.picture import Picture
from services.judging.pixel_judge.properties import Property, Sight, named_properties

_OWN_TASTE = {Property.BRIGHTNESS: 0.5, Property.CONTRAST: 0.5}
"""What an empty rubric falls back to: a fixed prior that knows nothing of the prompt."""


def preference(question: Question) -> float:
    """Weighted mean of (score of Image 1 − score of Image 2) over the named properties, −1 to 1.

    0 when the rubric names nothing that can be measured. Raises `PictureError` for an image that cannot be decoded.
    """
    source = None if question.source is None else Picture.decode(question.source)
    first, second = (
        Sight(picture=Picture.decode(png), prompt=question.prompt, source=source)
        for png in (question.first, question.second)
    )
    weighted = total = 0.0
    for prop, weight in property_weights(question.criteria).items():
        of_first, of_second = first.score(prop), second.score(prop)
        if of_first is not None and of_second is not None:
            weighted += weight * (of_first - of_second)
            total += weight
    return weighted / total if total else 0.0


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
