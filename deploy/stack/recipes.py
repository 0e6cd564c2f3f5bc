"""`python -m deploy.stack.recipes`: what the stack's three trainers train, learned and written down first.

Owns the recipes' files; the model and the way a rubric set is learned are the demo's.
"""

from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from arr.console import ExitCode, fail

NUM_TRAINERS = 3


def main(
    url: Annotated[str, typer.Option(help="Where the stack answers.")],
    output: Annotated[Path, typer.Option(file_okay=False, help="Where recipes and runs go.")],
    cache: Annotated[Path, typer.Option(file_okay=False, help="Where the demo keeps its model.")] = Path(".arr/demo"),
    rubric: Annotated[
        Path | None, typer.Option(dir_okay=False, help="A rubric set (JSON) to use instead of a learned one.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="section.key=value")] = None,
) -> None:
    """Build the demo's model unless it is there, have a rubric set learned, and write three recipes that use both.

    `section.key=value` replaces a value of the demo's recipe in all three.
    """
    from arr.quiet import quiet_model_libraries

    quiet_model_libraries()
    from arr.demo.learning import LearningFailedError, learn_rubric
    from arr.demo.run import RUBRIC_ALIAS, RUBRIC_NAME, DemoSettings, demo_config
    from arr.demo.tiny_flux import ensure_tiny_flux
    from reward_client import RewardClient, RewardClientError
    from shared_schemas.rubrics import RubricContent
    from trainer.errors import ConfigError

    try:
        model = ensure_tiny_flux(cache, progress=_Stages())
        if rubric is None:
            learned = learn_rubric(url, RUBRIC_NAME, alias=RUBRIC_ALIAS, progress=_Stages())
            typer.echo(f"learned {learned.version.name}@{learned.version.version}: {learned.summary}")
        else:
            with RewardClient(url) as client:
                version = client.publish_rubric(RUBRIC_NAME, RubricContent.model_validate_json(rubric.read_bytes()))
                client.set_alias(RUBRIC_NAME, RUBRIC_ALIAS, version.version)
        for number in range(1, NUM_TRAINERS + 1):
            place = output / f"trainer-{number}"
            settings = DemoSettings(output=place, cache=cache, seed=number - 1, overrides=tuple(overrides or ()))
            config = demo_config(settings, model=model.resolve(), url=url)
            (output / f"{number}.toml").write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    except ConfigError as error:
        fail(str(error), code=ExitCode.USAGE)
    except (RewardClientError, LearningFailedError, OSError, ValueError) as error:
        fail(str(error))


class _Stages:
    """A line for every stage that is over."""

    def __init__(self) -> None:
        self._over: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if done == total and stage not in self._over:
            self._over.add(stage)
            typer.echo(f"{stage}: done")


if __name__ == "__main__":
    typer.run(main)
