"""`arr prepare`: encode a recipe's examples once and for all."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from arr.console import OUT, ExitCode, fail, note


def prepare(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The recipe; see trainer/configs/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="section.key=value", help="Settings that replace those of the recipe."),
    ] = None,
) -> None:
    """Encode the prompts, and the source images of edits, that a recipe trains and is evaluated on.

    Rows go to the folder that the recipe names as `data.prepared`; `arr train` then reads them from there, one by one,
    and loads no text encoder. Ctrl-C writes what was encoded; the same command goes on, and does nothing when all is
    there.

    ```
    arr prepare demo_out/recipe.toml data.prepared=prepared
    arr train demo_out/recipe.toml data.prepared=prepared reward.rubric=shapes output_dir=runs/mine
    ```
    """
    from trainer.config import load_config
    from trainer.errors import TrainerError

    try:
        recipe = load_config(config, overrides or ())
    except TrainerError as error:
        fail(str(error), code=ExitCode.USAGE)

    from arr.quiet import quiet_model_libraries

    quiet_model_libraries()
    from arr.progress import RunProgress
    from arr.train import stop_on_signal
    from trainer.prepare import prepare as run_preparation

    try:
        with stop_on_signal("row") as stop, RunProgress(OUT) as bar:
            prepared = run_preparation(recipe, progress=_drawn(bar.stage), should_stop=stop.is_set)
    except TrainerError as error:
        fail(str(error), code=ExitCode.USAGE)
    if not prepared.is_complete:
        note(f"stopped after {prepared.num_done} of {prepared.num_rows} rows, saved; the same command goes on")
        raise typer.Exit(ExitCode.INTERRUPTED)
    text = f"{prepared.num_rows} rows in {prepared.folder}, {prepared.num_encoded} of them new"
    OUT.print(text, markup=False, soft_wrap=True)


def _drawn(stage: Callable[..., None]) -> Callable[[int, int], None]:
    """A bar with the rows per second of this call: rows that were there before do not count."""
    start, first = time.perf_counter(), None

    def draw(done: int, total: int) -> None:
        nonlocal start, first
        if first is None:
            start, first = time.perf_counter(), done
        rate = (done - first) / max(time.perf_counter() - start, 1e-9)
        stage("encoding", done, total, note=f"{rate:.1f} rows/s" if done > first else "loading the encoders")

    return draw
