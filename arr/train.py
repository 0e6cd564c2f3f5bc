"""`arr train`: run a recipe."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn, Self

import typer
from rich.console import Console

from arr.console import OUT, ExitCode, fail, note

if TYPE_CHECKING:
    from trainer.config import TrainConfig
    from trainer.errors import TrainerError


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The recipe; see trainer/configs/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="section.key=value", help="Settings that replace those of the recipe."),
    ] = None,
) -> None:
    """Train an adapter on the rewards of a running service.

    Everything goes to the recipe's `output_dir`. Ctrl-C (or SIGTERM, or a closed terminal) finishes the step, saves
    and leaves; the same command goes on where it stopped, to the same curve. A second Ctrl-C leaves at once.
    `accelerate launch --config_file trainer/configs/accelerate/ddp.yaml -m arr.main train …` runs it on several GPUs.

    ```
    arr demo                                 # leaves a model, prompts and demo_out/recipe.toml
    arr serve &
    arr rubrics publish shapes arr/demo/rubric.json
    arr train demo_out/recipe.toml reward.rubric=shapes output_dir=runs/mine steps=20
    arr export demo_out/recipe.toml reward.rubric=shapes output_dir=runs/mine
    ```
    """
    from trainer.config import load_config
    from trainer.errors import ConfigError, FailedElsewhere, OutOfMemory, TrainerError

    launched = Launched.of_environment()
    try:
        recipe = load_config(config, overrides or ())
    except ConfigError as error:
        launched.fail(str(error), code=ExitCode.USAGE)

    from arr.quiet import quiet_model_libraries

    quiet_model_libraries()
    from arr.progress import RunProgress
    from trainer.train import train as run_training

    try:
        with (
            stop_on_signal(is_launched=launched.is_launched) as stop,
            RunProgress(OUT if launched.is_first else Console(quiet=True)) as progress,
        ):
            outcome = run_training(recipe, monitors=[progress], should_stop=stop.is_set, announce=progress.announce)
    except ConfigError as error:
        launched.fail(str(error), code=ExitCode.USAGE)
    except FailedElsewhere as error:
        raise typer.Exit(ExitCode.FAILED) from error  # said there
    except OutOfMemory as error:
        fail(str(error))  # of this process alone
    except TrainerError as error:
        launched.fail(f"{error}{_way_on(error, recipe)}")
    if not launched.is_first:
        raise typer.Exit(0 if outcome.is_complete else ExitCode.INTERRUPTED)
    if not outcome.is_complete:
        note(f"stopped after {outcome.step} of {recipe.steps} steps, saved; the same command goes on")
        raise typer.Exit(ExitCode.INTERRUPTED)
    text = f"{outcome.step} steps done: {recipe.output_dir}/metrics.jsonl; `arr export` writes the adapter"
    OUT.print(text, markup=False, soft_wrap=True)


def _way_on(error: "TrainerError", recipe: "TrainConfig") -> str:
    """What to do next, where the error itself does not say."""
    from trainer.errors import RewardsUnavailable, TrainingDiverged

    match error:
        case RewardsUnavailable():
            return f". What was done is in {recipe.output_dir}; the same command goes on from its last checkpoint"
        case TrainingDiverged():
            rate, kl_weight = recipe.optimizer.learning_rate, recipe.loss.kl_weight
            lower = f"optimizer.learning_rate ({rate:g})" + (f" or loss.kl_weight ({kl_weight:g})" if kl_weight else "")
            return f". The same command would come to the same; lower {lower}, in another output_dir"
        case _:
            return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launched:
    """Which of the processes that a launcher started this is; the only one, without a launcher."""

    is_launched: bool
    is_first: bool
    """Of all: it draws and reports."""
    is_first_here: bool
    """Of this machine: it says what went wrong, which is the same on all processes."""

    @classmethod
    def of_environment(cls) -> Self:
        """By the variables that `accelerate launch` and `torchrun` set."""
        return cls(
            is_launched="RANK" in os.environ,
            is_first=os.environ.get("RANK", "0") == "0",
            is_first_here=os.environ.get("LOCAL_RANK", "0") == "0",
        )

    def fail(self, message: str, *, code: ExitCode = ExitCode.FAILED) -> NoReturn:
        """One line per machine, and the same code from all processes."""
        if self.is_first_here:
            fail(message, code=code)
        raise typer.Exit(code)


@contextmanager
def stop_on_signal(unit: str = "step", *, is_launched: bool = False) -> Iterator[Event]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into an event; a second SIGINT or SIGTERM raises `SystemExit`.

    Raised, so that every `with` block is left in order. A closed terminal sends SIGHUP, more than once; where it is
    ignored (`nohup`), it stays so. Under a launcher no number of signals leaves at once: it repeats those of the
    terminal, and kills who takes too long.
    """
    stop = Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _discard_unwritable_output()
        elif stop.is_set() and not is_launched:
            raise SystemExit(128 + number)
        if not is_launched:
            note(f"stopping after this {unit}; once more to leave at once")
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    former = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _discard_unwritable_output() -> None:
    """Point standard output and error nowhere where their terminal is gone: a progress bar must not end the step."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
