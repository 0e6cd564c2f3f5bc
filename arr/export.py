"""`arr export`: the trained adapter, in a form that others load."""

from pathlib import Path
from typing import Annotated

import typer

from arr.connection import connected
from arr.console import OUT, ExitCode, fail


def export(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The recipe the run was trained with.")],
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
) -> None:
    """Write a run's newest checkpoint as an adapter that diffusers and PEFT load.

    One directory holds both layouts and a model card with the lines that use it. Give the overrides that shaped the
    run; others are refused. The rubric's text comes from the service, unless `--offline`.

    ```
    arr export demo_out/recipe.toml reward.rubric=shapes output_dir=runs/mine
    arr export demo_out/recipe.toml output_dir=runs/mine --output my-adapter --offline
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
    from trainer.export import RubricText, export_run

    rubric = None
    if not offline:
        with connected(recipe.reward.url, or_else="Or leave the rubric's text out with --offline") as client:
            pinned = client.resolve_rubric(recipe.reward.rubric)
            if pinned.name is not None and pinned.version is not None:
                version = client.get_rubric(pinned.name, pinned.version)
                rubric = RubricText(reference=f"{version.name}@{version.version}", content=version.content)
    try:
        written = export_run(recipe, output or recipe.output_dir / "adapter", rubric=rubric)
    except TrainerError as error:
        fail(str(error), code=ExitCode.USAGE)
    OUT.print(f"adapter written to {written}; its README.md has the lines that use it", markup=False, soft_wrap=True)
