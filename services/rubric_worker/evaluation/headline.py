"""What is kept with a rubric version of its report: the figures that a listing shows."""

from shared_schemas.evaluations import RubricReport
from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import VersionMetrics


def headline(
    report: RubricReport, *, none: RubricReport | None, judge: JudgeIdentity, dataset: str, job: int
) -> VersionMetrics:
    """The metrics of a version; `none` is the report of the judge without rubrics, `dataset` a digest.

    For images that are scored one by one nothing stands first: both orders have the accuracy itself.
    """
    accuracy = report.accuracy
    return VersionMetrics(
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        forward=(report.forward or accuracy).value,
        reverse=(report.reverse or accuracy).value,
        none_accuracy=None if none is None else none.accuracy.value,
        num_pairs=report.num_pairs,
        judge=judge.fingerprint,
        dataset=dataset,
        job=job,
    )
