"""The whole example: make pairs, learn a rubric set for each task, and hold it against its targets.

    python -m examples.learn_rubrics.run

Owns the order of things and what is printed. Exit code 0 says that every target was met.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from arr.jobs.progress import JobProgress
from arr.service_process import ServiceDidNotStartError, running_service
from examples.learn_rubrics.edits import edit_pairs
from examples.learn_rubrics.labelled_folder import LabelledPair, shuffle_labels, write_folder
from examples.learn_rubrics.learning import JobFailedError, Watch, Workshop, result_of
from examples.learn_rubrics.random_sets import random_sets
from examples.learn_rubrics.shapes import shape_pairs
from examples.learn_rubrics.targets import Outcome, Target, targets_of
from reward_client import RewardClient, RewardClientError
from shared_schemas.evaluations import RubricReport
from shared_schemas.jobs import Job
from shared_schemas.learning import LearnResult
from shared_schemas.rubrics import RubricIdentity, RubricVersion

BIAS_NATS = 1.0
SHUFFLED = "shuffled.jsonl"
DEFAULT_OUTPUT = Path("runs/learn_rubrics")

_OUT = Console(highlight=False)
_ERR = Console(stderr=True, highlight=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One task to learn a rubric set for."""

    name: str
    """Of the rubric set, and of the folder with its pairs."""
    make_pairs: Callable[..., Sequence[LabelledPair]]
    task_description: str


EXAMPLES = (
    Example(
        name="shapes",
        make_pairs=shape_pairs,
        task_description="Small drawings of one coloured shape on plain paper, made from a caption.",
    ),
    Example(
        name="edits",
        make_pairs=edit_pairs,
        task_description="Photographs into which a shape is painted, or of which a part is tinted, by an instruction.",
    ),
)


def run_example(example: Example, folder: Path, *, fair: Workshop, biased: Workshop, seed: int) -> Outcome:
    """Learn one set and find out everything about it. Raises `JobFailedError`."""
    annotations = write_folder(example.make_pairs(seed=seed), folder, seed=seed)
    shuffle_labels(annotations, folder / SHUFFLED, seed=seed)
    dataset = fair.upload(folder)
    version = _learned(fair, fair.learn(example.name, dataset, task_description=example.task_description))
    drawn = [
        fair.client.publish_rubric(f"{example.name}-random", content)
        for content in random_sets(version.content, seed=seed)
    ]
    measured = fair.measure([_identity(each) for each in (version, *drawn)], dataset).rubrics
    again = biased.client.publish_rubric(example.name, version.content)
    before_biased = biased.measure([_identity(again)], biased.upload(folder)).rubrics
    shuffled = fair.learn(
        f"{example.name}-shuffled", fair.upload(folder, SHUFFLED), task_description=example.task_description
    )
    return Outcome(
        name=example.name,
        content=version.content,
        learned=measured[0],
        random=measured[1:-1],
        none=measured[-1],
        biased=before_biased[0],
        bias_nats=BIAS_NATS,
        shuffled=shuffled,
    )


def run_all(output: Path, *, url: str | None = None, seed: int = 0, watch: Watch) -> list[Outcome]:
    """Both tasks. Without a `url`, a service of its own is started, with the pixel judge.

    The biased judge is always one of its own. Raises `JobFailedError`, `RewardClientError` and
    `ServiceDidNotStartError`.
    """
    with ExitStack() as stack:

        def service(name: str, settings: dict[str, str]) -> str:
            log = output / f"{name}.log"
            return stack.enter_context(running_service(output / name, log=log, settings=settings)).url

        def workshop(at: str) -> Workshop:
            return Workshop(stack.enter_context(RewardClient(at)), seed=seed, watch=watch)

        fair = workshop(url or service("service", {}))
        biased = workshop(service("biased-service", {"ARR_PIXEL_JUDGE_POSITION_BIAS": str(BIAS_NATS)}))
        return [
            run_example(example, output / example.name, fair=fair, biased=biased, seed=seed) for example in EXAMPLES
        ]


def _learned(workshop: Workshop, job: Job) -> RubricVersion:
    rubric = LearnResult.model_validate(result_of(job)).rubric
    if rubric is None or rubric.name is None or rubric.version is None:
        raise JobFailedError(f"job {job.id} succeeded and published nothing")
    return workshop.client.get_rubric(rubric.name, rubric.version)


def _identity(version: RubricVersion) -> RubricIdentity:
    return RubricIdentity(name=version.name, version=version.version, digest=version.digest)


def show_outcome(outcome: Outcome) -> None:
    """The learned set, the accuracies, and the targets."""
    _OUT.print(f"\n[bold]{outcome.name}[/bold]: {outcome.learned.num_pairs} held-out pairs")
    for criterion in outcome.content.criteria:
        _OUT.print(f"  {criterion.theme}", style="cyan", markup=False)
        for tip in criterion.tips:
            _OUT.print(f"    {tip}", markup=False)
    _OUT.print(_accuracies(outcome))
    for target in targets_of(outcome):
        sign = "[green]met[/green]   " if target.is_met else "[red]missed[/red]"
        _OUT.print(f"  {sign}  {target.name}: {target.measured}")


def _accuracies(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("accuracy, %")
    for heading in ("both orders", "better one first", "better one second"):
        table.add_column(heading, justify="right")
    table.add_row("without rubrics", *_percent(outcome.none))
    table.add_row(f"random sets, mean of {len(outcome.random)}", f"{100 * outcome.random_accuracy:.1f}", "", "")
    table.add_row("learned", *_percent(outcome.learned))
    table.add_row(f"learned, judge biased by {outcome.bias_nats:g} nat", *_percent(outcome.biased))
    return table


def _percent(report: RubricReport) -> tuple[str, ...]:
    estimates = (report.accuracy, report.forward, report.reverse)
    return tuple("" if estimate is None else f"{100 * estimate.value:.1f}" for estimate in estimates)


def missed(outcomes: Sequence[Outcome]) -> list[Target]:
    """Targets that were not met, of all tasks."""
    return [target for outcome in outcomes for target in targets_of(outcome) if not target.is_met]


@contextmanager
def _on_terminal() -> Iterator[Callable[[Job], None]]:
    with JobProgress(_ERR) as progress:
        yield progress.show


def main(
    output: Annotated[Path, typer.Option(help="Where pairs, the services' data and logs go.")] = Path(
        "runs/learn_rubrics"
    ),
    url: Annotated[str | None, typer.Option(help="A service with the pixel judge; without it, one is started.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the pairs and of learning.")] = 0,
) -> None:
    """Learn two rubric sets from labelled pairs made by program, and check what that was worth."""
    try:
        outcomes = run_all(output, url=url, seed=seed, watch=_on_terminal)
    except (JobFailedError, RewardClientError, ServiceDidNotStartError) as error:
        _ERR.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(1) from None
    for outcome in outcomes:
        show_outcome(outcome)
    raise typer.Exit(1 if missed(outcomes) else 0)


if __name__ == "__main__":
    typer.run(main)
