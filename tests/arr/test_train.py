"""`arr train` and `arr export`: mistakes in a recipe are said at once, in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

RECIPE = Path(__file__).parents[2] / "trainer" / "configs" / "tiny_flux.toml"


@pytest.mark.parametrize("command", ["train", "export"])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.toml"], "nowhere.toml"),
        ([RECIPE, "stepss=3"], "stepss"),
        ([RECIPE, "steps=0"], "steps"),
        ([RECIPE, "steps"], "section.key=value"),
        ([RECIPE, "reward.tie_margin=wide"], "reward.tie_margin"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_that_names_the_key(
    arr: Callable[..., Result], command: str, arguments: list[object], complaint: str
) -> None:
    result = arr(command, *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_exporting_a_run_that_never_was_is_one_line(arr: Callable[..., Result], tmp_path: Path) -> None:
    result = arr("export", RECIPE, f"output_dir={tmp_path / 'run'}", "--offline")
    assert result.exit_code == 2
    assert str(tmp_path / "run") in result.stderr.replace("\n", "")
