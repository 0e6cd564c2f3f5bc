"""What came of learning, as people read it on a terminal."""

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from arr.console import OUT
from arr.reports.numbers import count, duration, p_value, share_with_interval
from shared_schemas.autorubric import SparseSelection
from shared_schemas.learning import LearnResult, StageCost
from shared_schemas.rubrics import RubricVersion


def print_learned(result: LearnResult, rubric: RubricVersion | None) -> None:
    """The version with its criteria, how it was measured, what became of the proposals, and what it took."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in _lines(result):
        table.add_row(label, Text(value))
    if table.row_count:
        OUT.print(table)
    for criterion in () if rubric is None else rubric.content.criteria:
        OUT.print(Text(f"\n{criterion.theme}", style="bold"), soft_wrap=True)
        for tip in criterion.tips:
            OUT.print(Text(f"  - {tip}"), soft_wrap=True)
    if result.stages:
        OUT.print()
        OUT.print(_costs(result.stages))


def proposals_in_words(result: LearnResult) -> str:
    """`36 rows: 31 verified at once, 4 after revision, 1 discarded`."""
    proposals = result.proposals
    return (
        f"{proposals.proposed:,} rows: {proposals.verified_at_once:,} verified at once, "
        f"{proposals.verified_after_revision:,} after revision, {proposals.discarded:,} discarded"
    )


def _lines(result: LearnResult) -> Iterator[tuple[str, str]]:
    if result.rubric is not None:
        known = "" if result.is_new else "  (published before)"
        yield "version", f"{result.rubric.reference}  {result.rubric.digest[:19]}…{known}"
    if result.report is not None:
        measured, none = result.report.rubrics[0], result.report.rubrics[-1]
        yield "accuracy", f"{share_with_interval(measured.accuracy)} of {measured.num_pairs:,} held-out pairs"
        if measured is not none:
            yield "without rubrics", share_with_interval(none.accuracy)
            better = "yes" if result.better_than_none else "no"
            yield "better than that", f"{better} (p = {p_value(result.p_value)}, on all that nothing was learned from)"
    if result.sparse is not None:
        yield from _weights(result, result.sparse)
    elif result.proposals.proposed:
        yield from _proposals(result)


def _proposals(result: LearnResult) -> Iterator[tuple[str, str]]:
    yield "proposals", proposals_in_words(result)
    if result.proposals.refused_criteria:
        yield (
            "",
            f"{result.proposals.refused_criteria:,} criteria refused (they compare, or name a place)",
        )
    structure = "grouped into themes" if result.structured else (result.structure_problem or "not grouped")
    yield "criteria", f"{result.num_candidates:,} verified, {result.num_selected:,} selected; {structure}"


def _weights(result: LearnResult, sparse: SparseSelection) -> Iterator[tuple[str, str]]:
    best = sparse.rounds[sparse.best_round]
    accuracy = "" if best.validation_accuracy is None else f", {best.validation_accuracy:.0%} of the validation part"
    yield "rounds", f"{len(sparse.rounds)}; the best is {sparse.best_round}{accuracy}"
    yield "criteria", f"{result.num_candidates:,} weighed on {sparse.num_pairs:,} pairs, {result.num_selected:,} kept"
    if sparse.stable is not None:
        yield "", f"{len(sparse.stable):,} stable"
    if sparse.dropped:
        yield "", f"{len(sparse.dropped):,} dropped: the judge answers them too rarely"
    for criterion in sparse.negative:
        yield "against people", f"{criterion.statement} ({criterion.weight:.2f})"


def _costs(stages: Sequence[StageCost]) -> Table:
    table = Table("stage", box=None, padding=(0, 2, 0, 0))
    for name in ("calls", "tokens", "time"):
        table.add_column(name, justify="right")
    for stage in stages:
        table.add_row(Text(stage.name), count(stage.judge_calls), count(stage.tokens), duration(stage.seconds))
    calls, tokens = sum(stage.judge_calls for stage in stages), sum(stage.tokens for stage in stages)
    table.add_row("all", count(calls), count(tokens), duration(sum(stage.seconds for stage in stages)), style="bold")
    return table
