"""Entry point of `arr`: names the sub-commands and nothing else."""

from typing import Annotated

import typer

from arr.demo_command import demo
from arr.evaluate import evaluate
from arr.export import export
from arr.jobs.command import jobs_app
from arr.judge import judge
from arr.judge_check import judge_check
from arr.keys import keys_app
from arr.learn import LearnCommand, learn
from arr.pairs.command import pairs_app
from arr.pixel_judge import pixel_judge
from arr.prepare import prepare
from arr.rubrics.command import rubrics_app
from arr.serve import serve
from arr.size import size
from arr.train import train
from arr.worker import worker

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"arr {version('rubric-reward')}")
        raise typer.Exit


@app.callback()
def arr(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Auto-Rubric as Reward: labelled pairs in, readable rubrics out, rewards over HTTP, better image generators.

    New here? `arr demo` shows the whole loop in a few minutes. Then, in two terminals:

    ```
    arr serve
    arr judge a.png b.png --prompt "a red circle"
    ```
    """


app.command()(demo)
app.command()(serve)
app.command()(worker)
app.command()(judge)
app.command("judge-check")(judge_check)
app.command()(size)
app.command(cls=LearnCommand)(learn)
app.command()(evaluate)
app.add_typer(rubrics_app)
app.add_typer(pairs_app)
app.add_typer(jobs_app)
app.add_typer(keys_app)
app.command()(prepare)
app.command()(train)
app.command()(export)
app.command("pixel-judge")(pixel_judge)

if __name__ == "__main__":
    app()
