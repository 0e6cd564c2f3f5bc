"""From what the service says about a rubric set to the identity that a run pins."""

from shared_schemas.rubrics import RubricContent, RubricIdentity, RubricReference, RubricSummary, RubricVersion, Task


def identity_of_version(version: RubricVersion) -> RubricIdentity:
    """Exactly this version."""
    return RubricIdentity(name=version.name, version=version.version, digest=version.digest)


def identity_of_newest(summary: RubricSummary) -> RubricIdentity:
    """The version that is the newest now."""
    return RubricIdentity(name=summary.name, version=summary.latest, digest=summary.digest)


def identity_without_rubric(reference: RubricReference, task: Task) -> RubricIdentity:
    """`name@none`: the empty set for a task. It holds nothing, so no service needs to be asked about it."""
    return RubricIdentity(name=reference.name, version=None, digest=RubricContent(task=task).digest)
