"""The pixel judge as a model that writes: criteria from labelled images, themes from statements, reasons for labels.

Owns what is written; measures are `properties`, words `phrases`, and what is wanted comes from `writing_requests`.

The one rule: it knows the label it is told and what it measures, and nothing else. Where that explains too little, it
writes what is plausible instead, as models do, so that whoever asks has reason to verify.
"""

import hashlib
import random

from pydantic import BaseModel

from services.judging.pixel_judge.chinese_phrases import CHINESE
from services.judging.pixel_judge.criteria_author import CriteriaAuthor, shuffled
from services.judging.pixel_judge.english_phrases import ENGLISH
from services.judging.pixel_judge.explaining import explaining_by, leads_of
from services.judging.pixel_judge.gallery import Gallery
from services.judging.pixel_judge.grouping import find, group
from services.judging.pixel_judge.parsing import ChatRequest
from services.judging.pixel_judge.phrases import Tongue
from services.judging.pixel_judge.properties import Property
from services.judging.pixel_judge.reasoning import diagnosis, extracted, reasoned
from services.judging.pixel_judge.settings import PixelJudgeSettings
from services.judging.pixel_judge.vocabulary import named_properties
from services.judging.pixel_judge.wanted import (
    CoverageWanted,
    DiagnosisWanted,
    ExtractionWanted,
    ProposalWanted,
    RationaleWanted,
    ReasoningWanted,
    RevisionWanted,
    StructureWanted,
    WritingRequest,
)
from services.judging.writing.shapes import Proposal, ProposedCriterion, Rationale
from shared_schemas.rubrics import Language

_MOST_REASONS = 2

_TONGUES = {Language.EN: ENGLISH, Language.ZH: CHINESE}


def write_answer(
    request: ChatRequest, writing: WritingRequest, *, gallery: Gallery, settings: PixelJudgeSettings
) -> BaseModel:
    """An answer of the shape that was asked for; the same for the same messages and seed.

    Raises `PictureError` for an image that cannot be decoded.
    """
    dice, tongue = _dice(request), _TONGUES[writing.language]
    match writing.wanted:
        case ProposalWanted() as wanted:
            return _proposal(wanted, tongue=tongue, gallery=gallery, dice=dice)
        case RevisionWanted() as wanted:
            return _revision(wanted, tongue=tongue, gallery=gallery, dice=dice)
        case StructureWanted() as wanted:
            loses_one = dice.random() < settings.drops_a_criterion
            return group(wanted, tongue=tongue, loser=dice if loses_one else None)
        case CoverageWanted() as wanted:
            return find(wanted)
        case RationaleWanted() as wanted:
            return _rationale(wanted, tongue=tongue, gallery=gallery)
        case ReasoningWanted() as wanted:
            return reasoned(wanted, tongue=tongue, gallery=gallery, dice=dice)
        case DiagnosisWanted() as wanted:
            return diagnosis(wanted, tongue=tongue, gallery=gallery, dice=dice)
        case ExtractionWanted() as wanted:
            return extracted(wanted, tongue=tongue, gallery=gallery, dice=dice)


def _dice(request: ChatRequest) -> random.Random:
    """Randomness that follows from messages and seed."""
    content = f"{request.seed}:{request.model_dump_json(include={'messages'})}"
    return random.Random(hashlib.sha256(content.encode()).digest())


def _proposal(wanted: ProposalWanted, *, tongue: Tongue, gallery: Gallery, dice: random.Random) -> Proposal:
    leads = leads_of(wanted.scene, gallery)
    explaining = explaining_by(leads)
    author = CriteriaAuthor(tongue, dice)
    author.write(explaining, up_to=wanted.num_criteria)
    author.write(shuffled([prop for prop in leads if prop not in explaining], dice), up_to=wanted.num_criteria)
    author.fill(leads, up_to=wanted.num_criteria)
    return Proposal(criteria=author.criteria)


def _revision(wanted: RevisionWanted, *, tongue: Tongue, gallery: Gallery, dice: random.Random) -> Proposal:
    """Keep what points the right way; put what else explains the label in place of the rest, or say the same anew."""
    leads = leads_of(wanted.scene, gallery)
    explaining = explaining_by(leads)
    names = [named_properties(criterion.text) for criterion in wanted.criteria]
    kept = wanted.kept or tuple(bool(named & set(explaining)) for named in names)
    if all(kept) and kept:  # nothing here is at fault, so it must be what images for other prompts do not have
        kept = (*kept[:-1], False)
    author = CriteriaAuthor(tongue, dice)
    for criterion, is_kept in zip(wanted.criteria, kept, strict=True):
        author.remember(ProposedCriterion(theme=criterion.theme, statement=" ".join(criterion.tips)), keep=is_kept)
    said = frozenset[Property]().union(*names)
    num_criteria = len(wanted.criteria)
    author.write([prop for prop in explaining if prop not in said], up_to=num_criteria)
    author.write([prop for prop in explaining if prop in said], up_to=num_criteria)
    author.write(shuffled([prop for prop in leads if prop not in said], dice), up_to=num_criteria)
    author.fill(leads, up_to=num_criteria)
    return Proposal(criteria=author.criteria)


def _rationale(wanted: RationaleWanted, *, tongue: Tongue, gallery: Gallery) -> Rationale:
    explaining = explaining_by(leads_of(wanted.scene, gallery))
    asked_for = named_properties("\n".join(criterion.text for criterion in wanted.criteria))
    reasons = [prop for prop in explaining if prop in asked_for] or explaining
    if not reasons:
        return Rationale(rationale=tongue.no_reason)
    merits = tongue.conjunction.join(tongue.phrases[prop].merit for prop in reasons[:_MOST_REASONS])
    return Rationale(rationale=tongue.because.format(merits=merits))
