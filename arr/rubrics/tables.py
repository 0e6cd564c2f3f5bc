"""Rubric sets, versions and differences as people read them on a terminal."""

from collections.abc import Iterator, Sequence

import typer
from rich.table import Table
from rich.text import Text

from arr.console import OUT
from arr.reports.numbers import share, share_with_interval
from shared_schemas.evaluations import Estimate
from shared_schemas.rubrics import Change, Criterion, RubricDiff, RubricSummary, RubricVersion, VersionMetrics

_COLOURS = {Change.ADDED: "green", Change.REMOVED: "red"}


def print_summaries(summaries: Sequence[RubricSummary]) -> None:
    """One line per rubric set."""
    table = Table("name", "newest", "task", "criteria", "accuracy", "aliases", box=None, padding=(0, 2, 0, 0))
    for summary in summaries:
        aliases = ", ".join(f"{alias} → {version}" for alias, version in sorted(summary.aliases.items()))
        accuracy = "" if summary.metrics is None else _accuracy(summary.metrics)
        table.add_row(summary.name, str(summary.latest), summary.task, str(summary.num_criteria), accuracy, aliases)
    OUT.print(table)


def print_version(version: RubricVersion) -> None:
    """Everything about one version, its themes and tips below."""
    typer.secho(f"{version.name}@{version.version}  {version.digest}", bold=True)
    content = version.content
    archived = ", archived" if version.archived else ""
    typer.echo(f"{content.task}, {content.mode}, published {version.created:%Y-%m-%d %H:%M} UTC{archived}")
    if version.metrics is not None:
        metrics = version.metrics
        typer.echo(f"accuracy {_accuracy(metrics)} on {metrics.num_pairs:,} held-out pairs (job {metrics.job})")
    for fingerprint, fitted in version.calibration.items():
        values = f"temperature {fitted.temperature:.3g}, tie margin {fitted.tie_margin:.3g} nats"
        typer.echo(f"calibrated for the judge {fingerprint[:19]}…: {values}")
    if content.task_description:
        typer.echo(content.task_description)
    for criterion in content.criteria:
        typer.secho(f"\n{criterion.theme}  ({criterion.id}, weight {criterion.weight:g})", bold=True)
        for tip in criterion.tips:
            typer.echo(f"  - {tip}")
    for number, exemplar in enumerate(content.guide, start=1):
        typer.secho(f"\nexemplar {number}: {exemplar.prompt}", bold=True)
        typer.echo(f"  {exemplar.rationale}")


def print_diff(found: RubricDiff) -> None:
    """What changed, criterion by criterion, then the other parts of the content."""
    if not found.criteria and not found.fields:
        typer.echo(f"{found.name}@{found.before} and @{found.after} say the same")
    for changed in found.criteria:
        criterion = changed.after or changed.before
        if criterion is not None:
            title = Text(f"{changed.change} {criterion.id}: {criterion.theme}", style="bold")
            title.stylize(_COLOURS.get(changed.change, "yellow"), 0, len(changed.change))
            OUT.print(title, soft_wrap=True)
        for line in _lines(changed.before, changed.after):
            OUT.print(line, soft_wrap=True)
    for name, (before, after) in found.fields.items():
        OUT.print(Text(f"{name}", style="bold"), soft_wrap=True)
        OUT.print(Text(f"  - {before or '(empty)'}", style="red"), soft_wrap=True)
        OUT.print(Text(f"  + {after or '(empty)'}", style="green"), soft_wrap=True)


def _lines(before: Criterion | None, after: Criterion | None) -> Iterator[Text]:
    """The lines of a criterion that went, and those that came."""
    gone, come = _said_by(before), _said_by(after)
    yield from (Text(f"  - {line}", style="red") for line in gone if line not in come)
    yield from (Text(f"  + {line}", style="green") for line in come if line not in gone)


def _said_by(criterion: Criterion | None) -> tuple[str, ...]:
    if criterion is None:
        return ()
    return (f"theme: {criterion.theme}", f"weight: {criterion.weight:g}", *criterion.tips)


def _accuracy(metrics: VersionMetrics) -> str:
    """`78.1 % [72.0–83.5], without rubrics 61.2 %`."""
    estimate = Estimate(value=metrics.accuracy, low=metrics.accuracy_low, high=metrics.accuracy_high)
    text = share_with_interval(estimate)
    return text if metrics.none_accuracy is None else f"{text}, without rubrics {share(metrics.none_accuracy)}"
