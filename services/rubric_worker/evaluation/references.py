"""Which rubric versions are measured, and what they are compared with.

The one rule: the judge without rubrics is always among them, once and last; it judges the same task in the same
language.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.rubric_worker.job_kinds import JobFailedError
from services.storage.errors import UnknownRubricError
from services.storage.rubrics import RubricRepository
from shared_schemas.evaluations import EvaluationFailure
from shared_schemas.rubrics import Calibration, Language, RubricContent, RubricIdentity, RubricReference, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is measured."""

    identity: RubricIdentity
    content: RubricContent
    calibration: Mapping[str, Calibration]
    """Judge fingerprint → how its margins are to be read so far."""
    provenance: Mapping[str, Any]
    """Where a version comes from; empty for the judge without rubrics."""


async def resolve(texts: Sequence[str], rubrics: RubricRepository, *, task: Task) -> tuple[Subject, ...]:
    """The versions that the references name, each once, then the judge without rubrics.

    That one is named `name@none` after the first reference that asks for it, or else after the first of all; its
    language is that of the first version. Raises `JobFailedError` (`unknown-rubric`, `task-mismatch`).
    """
    references = [_parse(text) for text in texts]
    versions = {
        (subject.identity.name, subject.identity.version): subject
        for reference in references
        if not reference.is_none
        for subject in [await _version(reference, rubrics, task=task)]
    }
    named = next((reference for reference in references if reference.is_none), references[0])
    languages = [subject.content.language for subject in versions.values()]
    none = RubricContent(task=task, language=languages[0] if languages else Language.EN)
    baseline = Subject(
        identity=RubricIdentity(name=named.name, version=None, digest=none.digest),
        content=none,
        calibration=await rubrics.calibrations(none.digest),
        provenance={},
    )
    return (*versions.values(), baseline)


def _parse(text: str) -> RubricReference:
    try:
        return RubricReference.parse(text)
    except ValueError as error:
        raise JobFailedError(EvaluationFailure.UNKNOWN_RUBRIC, str(error)) from error


async def _version(reference: RubricReference, rubrics: RubricRepository, *, task: Task) -> Subject:
    try:
        found = await rubrics.resolve(reference)
    except UnknownRubricError as error:
        raise JobFailedError(EvaluationFailure.UNKNOWN_RUBRIC, str(error)) from error
    identity = RubricIdentity(name=found.name, version=found.version, digest=found.digest)
    if found.content.task is not task:
        detail = f"{identity.reference} judges {found.content.task.value}, and the dataset is for {task.value}"
        raise JobFailedError(EvaluationFailure.TASK_MISMATCH, detail)
    return Subject(identity=identity, content=found.content, calibration=found.calibration, provenance=found.provenance)
