"""From what a judge said and what people said to the figures of a report. Pure; docs/evaluation.md defines each figure.

The one rule: pairs that have failed are counted, and are in no other number.
"""

from collections.abc import Sequence

import numpy as np

from services.rubric_worker.evaluation import calibration
from services.rubric_worker.evaluation.agreement import kappa, noise_floor, tie_aware_accuracy
from services.rubric_worker.evaluation.anchors import anchors_for
from services.rubric_worker.evaluation.columns import Numbers
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
from services.storage.splits import prompt_key
from shared_schemas.datasets import Dataset
from shared_schemas.evaluations import CriterionReport, EvaluationFailure, EvaluationReport, RubricReport, SplitName
from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import Calibration


def reports(
    labelled: Sequence[LabelledPair], judged: Sequence[Judged], options: EvaluationOptions
) -> tuple[RubricReport, ...]:
    """One report for each rubric set; sets are tested against the first one without criteria, if there is one.

    Raises `JobFailedError` (`too-many-failures`) when a set has judged no pair with a preference.
    """
    tables = [Table(labelled, one) for one in judged]
    rows = [one.row for one in labelled]
    baseline = next((table for table in tables if not table.judged.content.criteria), None)
    return tuple(_report(table, baseline, rows, options) for table in tables)


def evaluation_report(
    dataset: Dataset,
    labelled: Sequence[LabelledPair],
    rubrics: tuple[RubricReport, ...],
    *,
    split: SplitName,
    seed: int,
    judge: JudgeIdentity,
) -> EvaluationReport:
    """The reports of all sets on the same pairs, with what those pairs are and published figures for the task."""
    return EvaluationReport(
        dataset=dataset.id,
        dataset_digest=dataset.digest,
        task=dataset.task,
        split=split,
        seed=seed,
        judge=judge,
        num_rows=len({one.row for one in labelled}),
        num_prompts=len({prompt_key(one.pair.prompt) for one in labelled}),
        num_ties=sum(one.label == 0 for one in labelled),
        rubrics=rubrics,
        anchors=anchors_for(dataset.task, judge.model),
    )


def _report(table: Table, baseline: Table | None, rows: Sequence[str], options: EvaluationOptions) -> RubricReport:
    """`rows` are those of all pairs, one for each."""
    judged = table.judged
    learned_from = options.learned_from.get(judged.content.digest, frozenset())
    bootstrap = Bootstrap(table.clusters, seed=options.seed)
    accuracy = bootstrap.mean(table.right)
    if accuracy is None:
        raise _nothing_judged(table)
    order = order_figures(table, bootstrap)
    kappa_runs, floor = _two_runs(table)
    sure = _reliability(table)
    criteria = _criteria(table, bootstrap)
    flips = table.flips()
    without = None if baseline is None or baseline is table else _right_without(table, baseline)
    return RubricReport(
        rubric=judged.identity,
        num_pairs=int(table.preferring.sum()),
        num_learned_from=sum(row in learned_from for row in rows),
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
        injection_flip_rate=bootstrap.mean(flips),
        num_injected=int((~np.isnan(flips)).sum()),
        criteria=criteria,
        redundancy=_redundancy(table, criteria),
        calibration=_calibration(table, options, noise_floor=floor),
        gain=None if without is None else bootstrap.mean_difference(table.right - without),
        p_value=None if without is None else _p_value(table, without, seed=options.seed),
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
        differences = table.score_differences(criterion.id)
        auc = pairwise_auc(differences, bootstrap)
        if auc is not None:
            found.append(
                CriterionReport(
                    id=criterion.id,
                    theme=criterion.theme,
                    auc=auc,
                    mean_score=table.mean_score(criterion.id),
                    num_pairs=int((~np.isnan(differences)).sum()),
                )
            )
    return tuple(found)


def _redundancy(table: Table, criteria: Sequence[CriterionReport]) -> tuple[tuple[float, ...], ...]:
    if not criteria:
        return ()
    return redundancy(np.column_stack([table.score_differences(criterion.id) for criterion in criteria]))


def _right_without(table: Table, baseline: Table) -> Numbers:
    """[N] how right the baseline is about the table's pairs; NaN where it has none, or people see a tie."""
    right = baseline.right_by_place
    return np.array([right.get(place, np.nan) for place in table.places], dtype=np.float64)


def _p_value(table: Table, without: Numbers, *, seed: int) -> float | None:
    """Over the pairs that both have judged; none when there are none."""
    both = np.flatnonzero(~np.isnan(table.right - without))
    if not len(both):
        return None
    clusters = [table.clusters[place] for place in both]
    return paired_p_value(table.right[both].tolist(), without[both].tolist(), clusters, seed=seed)


def _nothing_judged(table: Table) -> JobFailedError:
    return JobFailedError(
        EvaluationFailure.TOO_MANY_FAILURES,
        f"{table.judged.identity.reference} has judged no pair that people have a preference for",
        evidence={"failures": dict(sorted(table.failures.items()))},
    )
