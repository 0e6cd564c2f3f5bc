"""A critique in words: what the judge made of the criteria, and which of them pointed the wrong way."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from services.judging.writing.shapes import Assignment, Critique, LabelledImages
from services.judging.writing.wording import CritiqueWording, Wording

_TELLS_APART = 0.05
"""Difference of p(yes) below which a criterion finds two images alike."""


def critique_in_words(critique: Critique, *, labelled: LabelledImages, about: Assignment, words: Wording) -> str:
    """What the judge's verdict was, and one line per criterion where it was asked for each."""
    lines = [words.critique.introduction, _verdict(critique, labelled=labelled, words=words.critique)]
    for number, scores in enumerate(critique.criterion_scores or (), 1):
        pieces = (_probability(index, score, words) for index, score in enumerate(scores))
        verdict = _direction(scores, labelled=labelled, about=about, words=words.critique)
        line = words.critique.criterion
        lines.append(line.format(number=number, verdict=verdict, probabilities=words.comma.join(pieces)))
    return "\n".join(lines)


def _verdict(critique: Critique, *, labelled: LabelledImages, words: CritiqueWording) -> str:
    if critique.margin is None:
        return words.unexplained
    if labelled.is_tie and not critique.is_tie:
        return words.decided_a_tie.format(margin=f"{abs(critique.margin):.2f}")
    margin = f"{critique.margin:+.2f}"
    if labelled.is_tie:
        return words.elsewhere.format(margin=margin)
    if critique.is_tie:
        return words.undecided.format(margin=margin)
    return (words.elsewhere if critique.margin > 0 else words.wrong).format(margin=margin)


def _probability(index: int, score: float, words: Wording) -> str:
    return words.score.format(image=words.image.format(number=index + 1), score=f"{score:.2f}")


def _direction(scores: Sequence[float], *, labelled: LabelledImages, about: Assignment, words: CritiqueWording) -> str:
    """Whether a criterion's p(yes) per image agrees with what people said."""
    if len(scores) != len(labelled.images):
        raise ValueError("a criterion has one score per image")
    if labelled.is_tie:
        return words.points_right if max(scores) - min(scores) <= _TELLS_APART else words.points_wrong
    lead = _lead_of_one(scores[0], labelled, about) if len(scores) == 1 else _lead(scores, labelled.places)
    if abs(lead) <= _TELLS_APART:
        return words.points_nowhere
    return words.points_right if lead > 0 else words.points_wrong


def _lead(scores: Sequence[float], places: Sequence[int]) -> float:
    """Mean lead in p(yes) of the better image of every two that people told apart."""
    leads = list(_leads(scores, places))
    return sum(leads) / len(leads)


def _leads(scores: Sequence[float], places: Sequence[int]) -> Iterator[float]:
    for (score, place), (other_score, other_place) in combinations(zip(scores, places, strict=True), 2):
        if place != other_place:
            yield score - other_score if place < other_place else other_score - score


def _lead_of_one(score: float, labelled: LabelledImages, about: Assignment) -> float:
    """How far p(yes) lies on the side of one half on which people's score lies in its range; 0 without a range."""
    if labelled.scores is None or about.min_score is None or about.max_score is None:
        return 0.0
    above_the_middle = labelled.scores[0] - (about.min_score + about.max_score) / 2
    return score - 0.5 if above_the_middle >= 0 else 0.5 - score
