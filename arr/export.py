"""`arr export`: the trained adapter, or a published one, in a form that others load."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from arr.connection import connected
from arr.console import OUT, ExitCode, fail


def export(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG.toml", help="The recipe the run was trained with.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="section.key=value", help="The overrides the run was trained with."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; default: `adapter` in the run's output_dir.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Leave the rubric's text out of the model card: ask no service for it.")
    ] = False,
    last: Annotated[
        bool, typer.Option("--last", help="The last weights, where the run keeps their average (`ema.decay`).")
    ] = False,
    checkpoint: Annotated[
        Literal["newest", "best"],
        typer.Option(help="`best`: the one that the held-out judge liked best (`checkpoint.keep_best`)."),
    ] = "newest",
    published: Annotated[
        Path | None,
        typer.Option("--from", metavar="PEFT_DIR", help="Convert this adapter in PEFT's layout; no recipe is needed."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="With --from: the pipeline that the adapter must fit."),
    ] = None,
) -> None:
    """Write a run's newest or best checkpoint as an adapter that diffusers and PEFT load.

    One directory holds both layouts and a model card with the lines that use it. Give the overrides that shaped the
    run; others are refused. The rubric's text comes from the service, unless `--offline`.

    With `--from`, the same for an adapter that somebody published in PEFT's layout, which diffusers does not load into
    every pipeline. `--base`, a directory or hub id, makes sure that the adapter fits; its weights are not read.

    ```
    arr export demo_out/recipe.toml reward.rubric=shapes output_dir=runs/mine
    arr export demo_out/recipe.toml output_dir=runs/mine --checkpoint best --output my-adapter --offline
    arr export --from ARR-FLUX.1-dev --base black-forest-labs/FLUX.1-dev --output arr-flux
    ```
    """
    if published is not None:
        if config is not None:
            fail("give a recipe or --from, not both", code=ExitCode.USAGE)
        if output is None:
            fail("--from needs --output: where to write", code=ExitCode.USAGE)
        written = _convert(published, output, base=base)
    elif config is None:
        fail("give the recipe of a run, or --from PEFT_DIR", code=ExitCode.USAGE)
    elif base is not None:
        fail("--base goes with --from; a recipe names its model itself", code=ExitCode.USAGE)
    else:
        written = _export_run(config, overrides or [], output, offline=offline, last=last, which=checkpoint)
    OUT.print(f"adapter written to {written}; its README.md has the lines that use it", markup=False, soft_wrap=True)


def _convert(published: Path, output: Path, *, base: str | None) -> Path:
    from arr.quiet import quiet_model_libraries

    quiet_model_libraries()
    from trainer.convert import convert_peft
    from trainer.errors import TrainerError

    try:
        return convert_peft(published, output, base=base)
    except TrainerError as error:
        fail(str(error), code=ExitCode.USAGE)


def _export_run(
    config: Path,
    overrides: list[str],
    output: Path | None,
    *,
    offline: bool,
    last: bool,
    which: Literal["newest", "best"],
) -> Path:
    from trainer.config import load_config
    from trainer.errors import TrainerError

    try:
        recipe = load_config(config, overrides)
    except TrainerError as error:
        fail(str(error), code=ExitCode.USAGE)

    from arr.quiet import quiet_model_libraries

    quiet_model_libraries()
    from trainer.export import RubricText, export_run

    rubric = None
    if not offline:
        with connected(recipe.reward.url, or_else="Or leave the rubric's text out with --offline") as client:
            pinned = client.resolve_rubric(recipe.reward.rubric, task=recipe.model.task)
            if pinned.name is not None and pinned.version is not None:
                version = client.get_rubric(pinned.name, pinned.version)
                rubric = RubricText(reference=f"{version.name}@{version.version}", content=version.content)
    try:
        return export_run(recipe, output or recipe.output_dir / "adapter", rubric=rubric, last=last, which=which)
    except TrainerError as error:
        fail(str(error), code=ExitCode.USAGE)
