"""Criteria by way of reasons: what is seen, what sets the images apart, what criteria in use miss.

Owns the three answers. The one rule: a diagnosis is all that the extraction gets; it measures again only to fill up.
"""

import random
from collections.abc import Sequence

from services.judging.pixel_judge.criteria_author import CriteriaAuthor, shuffled
from services.judging.pixel_judge.explaining import explaining_by, leads_of
from services.judging.pixel_judge.gallery import Gallery
from services.judging.pixel_judge.phrases import Tongue
from services.judging.pixel_judge.properties import Property
from services.judging.pixel_judge.vocabulary import named_properties
from services.judging.pixel_judge.wanted import DiagnosisWanted, ExtractionWanted, ReasoningWanted, Scene, Statement
from services.judging.writing.shapes import Diagnosis, Proposal, ProposedCriterion, Reasoned


def reasoned(wanted: ReasoningWanted, *, tongue: Tongue, gallery: Gallery, dice: random.Random) -> Reasoned:
    """Every measure of every image, the properties that explain the label, and criteria about these before others."""
    leads = leads_of(wanted.scene, gallery)
    explaining = explaining_by(leads)
    author = CriteriaAuthor(tongue, dice)
    author.write(explaining, up_to=wanted.num_criteria)
    author.write(shuffled([prop for prop in leads if prop not in explaining], dice), up_to=wanted.num_criteria)
    author.fill(leads, up_to=wanted.num_criteria)
    return Reasoned(
        observations=_observations(wanted.scene, list(leads), tongue=tongue, gallery=gallery),
        differences=tuple(tongue.because.format(merits=tongue.phrases[prop].merit) for prop in explaining),
        criteria=author.criteria,
    )


def diagnosis(wanted: DiagnosisWanted, *, tongue: Tongue, gallery: Gallery, dice: random.Random) -> Diagnosis:
    """What explains the label best and is not asked for yet, or else anyway; where nothing does, what might."""
    leads = leads_of(wanted.scene, gallery)
    explaining = explaining_by(leads)
    said = _named(wanted.criteria)
    missed = [prop for prop in explaining if prop not in said] or explaining
    if not missed:
        guess = shuffled(leads, dice)[0]
        return Diagnosis(dimension=tongue.phrases[guess].themes[0], evidence=tongue.no_reason)
    phrases = tongue.phrases[missed[0]]
    return Diagnosis(dimension=phrases.themes[0], evidence=tongue.because.format(merits=phrases.merit))


def extracted(wanted: ExtractionWanted, *, tongue: Tongue, gallery: Gallery, dice: random.Random) -> Proposal:
    """Criteria about what the diagnosis names, then about what nobody has asked for, none in words that are in use."""
    leads = leads_of(wanted.scene, gallery)
    named, said = named_properties(wanted.diagnosis), _named(wanted.criteria)
    author = CriteriaAuthor(tongue, dice)
    for criterion in wanted.criteria:
        for tip in criterion.tips:
            author.remember(ProposedCriterion(theme=criterion.theme, statement=tip), keep=False)
    author.fill([prop for prop in leads if prop in named], up_to=wanted.num_criteria)
    author.write(shuffled([prop for prop in leads if prop not in said], dice), up_to=wanted.num_criteria)
    author.fill(leads, up_to=wanted.num_criteria)
    return Proposal(criteria=author.criteria)


def _named(criteria: Sequence[Statement]) -> frozenset[Property]:
    return named_properties("\n".join(criterion.text for criterion in criteria))


def _observations(scene: Scene, seen: Sequence[Property], *, tongue: Tongue, gallery: Gallery) -> tuple[str, ...]:
    """One line for each image: every property and its score, 0 to 1."""
    sights = [gallery.sight(png, prompt=scene.prompt, source=scene.source) for png in scene.images]
    return tuple(
        "; ".join(f"{tongue.phrases[prop].themes[0]}: {sight.score(prop) or 0.0:.2f}" for prop in seen)
        for sight in sights
    )
