"""From what a judge said and what people said to the figures of a report. Pure; docs/evaluation.md defines each figure.

The one rule: pairs that have failed are counted, and are in no other number.
"""

from collections.abc import Sequence

import numpy as np

from services.rubric_worker.evaluation import calibration
from services.rubric_worker.evaluation.agreement import kappa, noise_floor, tie_aware_accuracy
from services.rubric_worker.evaluation.confidence import Reliability, reliability
from services.rubric_worker.evaluation.intervals import Bootstrap
from services.rubric_worker.evaluation.judged import Judged
from services.rubric_worker.evaluation.options import EvaluationOptions
from services.rubric_worker.evaluation.order import order_figures
from services.rubric_worker.evaluation.paired_test import paired_p_value
from services.rubric_worker.evaluation.separation import pairwise_auc, redundancy
from services.rubric_worker.evaluation.table import Table, margins_of, verdicts_of
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.labelled_pairs import LabelledPair
from shared_schemas.evaluations import CriterionReport, EvaluationFailure, RubricReport
from shared_schemas.rubrics import Calibration


def reports(
    labelled: Sequence[LabelledPair], judged: Sequence[Judged], options: EvaluationOptions
) -> tuple[RubricReport, ...]:
    """One report for each rubric set; sets are tested against the first one without criteria, if there is one.

    Raises `JobFailedError` (`too-many-failures`) when a set has judged no pair with a preference.
    """
    tables = [Table(labelled, one) for one in judged]
    baseline = next((table for table in tables if not table.judged.content.criteria), None)
    return tuple(_report(table, baseline, options) for table in tables)


def _report(table: Table, baseline: Table | None, options: EvaluationOptions) -> RubricReport:
    judged = table.judged
    bootstrap = Bootstrap(table.clusters, seed=options.seed)
    accuracy = bootstrap.mean(table.right)
    if accuracy is None:
        raise _nothing_judged(table)
    order = order_figures(table, bootstrap)
    kappa_runs, floor = _two_runs(table)
    sure = _reliability(table)
    criteria = _criteria(table, bootstrap)
    return RubricReport(
        rubric=judged.identity,
        num_pairs=int(table.preferring.sum()),
        num_failed=table.failures.total(),
        failures=dict(sorted(table.failures.items())),
        accuracy=accuracy,
        forward=order.forward,
        reverse=order.reverse,
        position_gap=order.position_gap,
        first_share=order.first_share,
        consistency=order.consistency,
        accuracy_if_consistent=order.accuracy_if_consistent,
        abstain_rate=float(np.mean(table.verdicts[table.preferring] == 0)),
        tie_accuracy=tie_aware_accuracy(table.verdicts, table.labels),
        kappa_labels=kappa(table.verdicts, table.labels),
        kappa_runs=kappa_runs,
        noise_floor=floor,
        ece=None if sure is None else sure.ece,
        brier=None if sure is None else sure.brier,
        bins=() if sure is None else sure.bins,
        injection_flip_rate=None if judged.injected is None else bootstrap.mean(table.flips()),
        criteria=criteria,
        redundancy=_redundancy(table, criteria),
        calibration=_calibration(table, options, noise_floor=floor),
        p_value=None if baseline is None or baseline is table else _p_value(table, baseline, seed=options.seed),
        usage=judged.usage,
    )


def _reliability(table: Table) -> Reliability | None:
    if table.margins is None:
        return None
    return reliability(table.margins[table.preferring], table.labels[table.preferring])


def _calibration(table: Table, options: EvaluationOptions, *, noise_floor: float | None) -> Calibration | None:
    if table.margins is None:
        return None
    return calibration.fit(
        table.margins,
        table.labels,
        default_tie_margin=options.default_tie_margin(table.judged.content),
        noise_floor=noise_floor,
        dataset=options.dataset,
        job=options.job,
    )


def _two_runs(table: Table) -> tuple[float | None, float | None]:
    """Cohen's κ between the runs, and the noise floor."""
    first, second = table.both_runs()
    if not first:
        return None, None
    tie_margin = table.judged.tie_margin
    agreement = kappa(verdicts_of(first, tie_margin), verdicts_of(second, tie_margin))
    margins, again = margins_of(first), margins_of(second)
    return agreement, None if margins is None or again is None else noise_floor(margins, again)


def _criteria(table: Table, bootstrap: Bootstrap) -> tuple[CriterionReport, ...]:
    """Of those criteria that some pair with a preference was scored by."""
    found = []
    for criterion in table.judged.content.criteria:
        auc = pairwise_auc(table.score_differences(criterion.id), bootstrap)
        if auc is not None:
            mean = table.mean_score(criterion.id)
            found.append(CriterionReport(id=criterion.id, theme=criterion.theme, auc=auc, mean_score=mean))
    return tuple(found)


def _redundancy(table: Table, criteria: Sequence[CriterionReport]) -> tuple[tuple[float, ...], ...]:
    if not criteria:
        return ()
    return redundancy(np.column_stack([table.score_differences(criterion.id) for criterion in criteria]))


def _p_value(table: Table, baseline: Table, *, seed: int) -> float | None:
    """Over the pairs that both have judged; none when there are none."""
    of_baseline = baseline.right_by_place
    both = {place: right for place, right in table.right_by_place.items() if place in of_baseline}
    if not both:
        return None
    clusters = dict(zip(table.places, table.clusters, strict=True))
    return paired_p_value(
        list(both.values()),
        [of_baseline[place] for place in both],
        [clusters[place] for place in both],
        seed=seed,
    )


def _nothing_judged(table: Table) -> JobFailedError:
    return JobFailedError(
        EvaluationFailure.TOO_MANY_FAILURES,
        f"{table.judged.identity.reference} has judged no pair that people have a preference for",
        evidence={"failures": dict(sorted(table.failures.items()))},
    )
