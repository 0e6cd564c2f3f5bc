"""Named sets of values that a recipe can start from; imports no torch.

Owns where they lie and that they come last: what a recipe says itself always wins. `default` is what the fields of
`trainer.config` say and needs no file; `paper` is what was published, one file per model family.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

Preset = Literal["default", "paper"]

_SAME_AS = {"qwen_image_edit_plus": "qwen_image_edit"}
"""Families that were not published on and take the values of their predecessor."""

_DIRECTORY = Path(__file__).parent / "configs" / "presets"


def under_recipe(preset: str, recipe: Mapping[str, Any], *, family: str) -> dict[str, Any]:
    """The recipe's values, and the preset's where it is silent; an unknown name is left for the field to refuse.

    Raises `ValueError` when the preset is not there for the family.
    """
    if preset == "default" or preset not in get_args(Preset):
        return dict(recipe)
    return _merged(_read(preset, family), recipe)


def _read(preset: str, family: str) -> dict[str, Any]:
    path = _DIRECTORY / f"{preset}_{_SAME_AS.get(family, family)}.toml"
    if not path.is_file():
        names = ", ".join(
            found.stem.removeprefix(f"{preset}_") for found in sorted(_DIRECTORY.glob(f"{preset}_*.toml"))
        )
        raise ValueError(f"there is no preset {preset!r} for the family {family!r}; there is one for {names or 'none'}")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values of both, section by section; where both have one, that of `above`."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if isinstance(lower, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(lower, value)
        else:
            merged[key] = value
    return merged
