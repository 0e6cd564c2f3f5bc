"""From what the service says about a rubric set to the identity that a run pins."""

from shared_schemas.rubrics import RubricContent, RubricIdentity, RubricSummary, RubricVersion


def identity_of_version(version: RubricVersion) -> RubricIdentity:
    """Exactly this version."""
    return RubricIdentity(name=version.name, version=version.version, digest=version.digest)


def identity_of_newest(summary: RubricSummary) -> RubricIdentity:
    """The version that is the newest now."""
    return RubricIdentity(name=summary.name, version=summary.latest, digest=summary.digest)


def identity_without_rubric(summary: RubricSummary) -> RubricIdentity:
    """`name@none`: the empty set for the task that `name` is made for."""
    return RubricIdentity(name=summary.name, version=None, digest=RubricContent(task=summary.task).digest)
