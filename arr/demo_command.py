"""`arr demo`: the whole loop on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arr.console import OUT, ExitCode, fail, note

if TYPE_CHECKING:
    from arr.demo.run import DemoResult, DemoSettings


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where results go.")] = Path("demo_out"),
    data_dir: Annotated[
        Path, typer.Option(envvar="ARR_DATA_DIR", help="Where the pre-trained model is kept for the next time.")
    ] = Path(".arr"),
    num_seeds: Annotated[int, typer.Option(min=1, help="Repeat with seeds 0, 1, … and print the spread.")] = 1,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few steps only: does everything run?")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="section.key=value", help="Changes to trainer/configs/tiny_flux.toml."),
    ] = None,
) -> None:
    """Show the whole loop in a few minutes, without a GPU, a server or a download.

    Builds a tiny but real FLUX pipeline, starts the reward service, learns a rubric set from labelled drawings, trains
    a LoRA on its rewards, and writes a report that sets the judge beside an independent ground truth. Ctrl-C is safe:
    the same command goes on where it stopped; pre-training alone begins again.

    ```
    arr demo
    arr demo --num-seeds 3
    arr demo loss.kl_weight=0.1 --output demo_kl
    ```
    """
    from arr.quiet import quiet_model_libraries

    quiet_model_libraries()
    from arr.demo.run import SMOKE_OVERRIDES, DemoSettings, forget_finished_runs

    changes = (*(SMOKE_OVERRIDES if smoke else ()), *(overrides or ()))
    folders = [output] if num_seeds == 1 else [output / f"seed-{seed}" for seed in range(num_seeds)]
    forget_finished_runs(folders)
    results = []
    for seed, folder in enumerate(folders):
        settings = DemoSettings(output=folder, cache=data_dir / "demo", seed=seed, overrides=changes)
        results.append(_run_one(settings))
    _print_table(results)
    for result in results:
        OUT.print(f"report: {result.report}    adapter: {result.adapter}", markup=False, soft_wrap=True)


def _run_one(settings: "DemoSettings") -> "DemoResult":
    from arr.demo.learning import LearningFailedError
    from arr.demo.run import run_demo
    from arr.progress import RunProgress
    from arr.service_process import ServiceDidNotStartError
    from arr.train import stop_on_signal
    from reward_client import RewardClientError
    from trainer.errors import ConfigError, TrainerError

    try:
        with stop_on_signal() as stop, RunProgress(OUT) as progress:
            result = run_demo(settings, stage=progress.stage, monitor=progress, announce=progress.announce, stop=stop)
    except ConfigError as error:
        fail(str(error), code=ExitCode.USAGE)
    except (TrainerError, RewardClientError, ServiceDidNotStartError, LearningFailedError) as error:
        fail(f"{error}. The service's log is {settings.output / 'service.log'}; the same command goes on")
    if result is None:
        note("stopped; what was done is kept, the same command goes on")
        raise typer.Exit(ExitCode.INTERRUPTED)
    return result


def _print_table(results: Sequence["DemoResult"]) -> None:
    from statistics import fmean, stdev

    from rich.table import Table

    rows = {
        "win rate against the base (judge)": [result.outcome.last.overall.win_rate for result in results],
        "… on prompts never trained on": [result.outcome.last.held_out.win_rate for result in results],
        "ground truth before": [result.outcome.base_accuracy for result in results],
        "ground truth after": [result.outcome.last.accuracy for result in results],
        "… before, prompts never trained on": [result.outcome.base_held_out_accuracy for result in results],
        "… after, prompts never trained on": [result.outcome.last.held_out_accuracy for result in results],
    }
    several = len(results) > 1
    table = Table("", *(f"seed {result.seed}" for result in results), *(["mean ± sd"] if several else []))
    for name, values in rows.items():
        spread = [f"{fmean(values):.3f} ± {stdev(values):.3f}"] if several else []
        table.add_row(name, *(f"{value:.3f}" for value in values), *spread)
    OUT.print(table)
    OUT.print(_pooled_held_out(results), markup=False)


def _pooled_held_out(results: Sequence["DemoResult"]) -> str:
    from trainer.evaluation.win_rates import wilson_interval

    rates = [result.outcome.last.held_out for result in results]
    count = sum(rate.wins + rate.ties + rate.losses for rate in rates)
    pooled = sum(rate.wins + rate.ties / 2 for rate in rates) / count
    low, high = wilson_interval(pooled, count)
    return f"prompts never trained on, pooled over {count} pairs: win rate {pooled:.3f}, 95 % [{low:.3f}, {high:.3f}]"
