"""Runs the example and says what it was worth.

    python -m examples.autorubric_t2i.run

Exit code 0 says that everything rose that must; 130 that it was interrupted, and the same command goes on.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arr.console import OUT, ExitCode, fail, note

if TYPE_CHECKING:
    from examples.autorubric_t2i.course import Settings
    from examples.autorubric_t2i.report import Finished


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where results go.")] = Path("runs/autorubric_t2i"),
    data_dir: Annotated[
        Path, typer.Option(envvar="ARR_DATA_DIR", help="Where the pre-trained model is kept for the next time.")
    ] = Path(".arr"),
    seed: Annotated[int, typer.Option(min=0, help="Of training.")] = 0,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few steps only: does everything run?")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="section.key=value", help="Changes to examples/autorubric_t2i/recipe.toml."),
    ] = None,
) -> None:
    """Learn weighted criteria from labelled pairs, and train a tiny Stable Diffusion 3 on their scores."""
    from arr.quiet import quiet_model_libraries

    quiet_model_libraries()
    from examples.autorubric_t2i.course import SMOKE_OVERRIDES, Settings, forget_finished_run

    changes = (*(SMOKE_OVERRIDES if smoke else ()), *(overrides or ()))
    forget_finished_run(output)
    finished = _run(Settings(output=output, cache=data_dir / "demo", seed=seed, overrides=changes))
    show(finished)
    OUT.print(f"report: {output / 'report.html'}    adapter: {output / 'adapter'}", markup=False, soft_wrap=True)
    if not smoke and any(not target.is_met for target in finished.targets):
        raise typer.Exit(ExitCode.FAILED)


def show(finished: "Finished") -> None:
    """Before and after, and what had to rise."""
    outcome, score = finished.outcome, finished.gains.scores[-1]
    lines = [
        f"mean score, of the highest there is: {score.base:.3f} → {score.tuned:.3f}",
        f"ground truth: {outcome.base_accuracy:.3f} → {outcome.last.accuracy:.3f}; on prompts never trained on: "
        f"{outcome.base_held_out_accuracy:.3f} → {outcome.last.held_out_accuracy:.3f}",
        *(
            f"{'met   ' if target.is_met else 'missed'}  {target.name}: {target.measured}"
            for target in finished.targets
        ),
    ]
    for line in lines:
        OUT.print(line, markup=False, soft_wrap=True)


def _run(settings: "Settings") -> "Finished":
    from arr.demo.learning import LearningFailedError
    from arr.progress import RunProgress
    from arr.service_process import ServiceDidNotStartError
    from arr.train import stop_on_signal
    from examples.autorubric_t2i.course import run_example
    from reward_client import RewardClientError
    from trainer.errors import ConfigError, TrainerError

    try:
        with stop_on_signal() as stop, RunProgress(OUT) as progress:
            finished = run_example(
                settings, stage=progress.stage, monitor=progress, announce=progress.announce, stop=stop
            )
    except ConfigError as error:
        fail(str(error), code=ExitCode.USAGE)
    except (TrainerError, RewardClientError, ServiceDidNotStartError, LearningFailedError) as error:
        fail(f"{error}. The service's log is {settings.output / 'service.log'}; the same command goes on")
    if finished is None:
        note("stopped; what was done is kept, the same command goes on")
        raise typer.Exit(ExitCode.INTERRUPTED)
    return finished


if __name__ == "__main__":
    typer.run(main)
