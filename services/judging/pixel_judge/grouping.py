"""Statements grouped into themes by the properties they name, and found again in themes.

Owns both directions. The one rule: a tip is a statement word for word, so that nothing is lost by rewording.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.judging.pixel_judge.phrases import FAMILIES, Family, Tongue
from services.judging.pixel_judge.properties import Property
from services.judging.pixel_judge.vocabulary import named_properties
from services.judging.pixel_judge.wanted import CoverageWanted, Statement, StructureWanted
from services.judging.writing.shapes import Coverage, CoverageEntry, Structure, StructuredTheme

_FAMILY_OF = {prop: family for family, properties in FAMILIES.items() for prop in properties}
_COARSE_TO_FINE = tuple(_FAMILY_OF)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    name: str
    numbers: tuple[int, ...]
    """Of statements, from 1."""


def group(wanted: StructureWanted, *, tongue: Tongue, loser: random.Random | None) -> Structure:
    """A theme per property; where those are too many, per family; still too many: the finest share the last theme.

    With a `loser`, one statement is lost, while its number is still claimed to be covered.
    """
    groups = _groups(wanted.statements, lambda prop: tongue.phrases[prop].themes[0] if prop else _other(tongue))
    if len(groups) > wanted.max_themes:
        groups = _groups(wanted.statements, lambda prop: tongue.families[_FAMILY_OF[prop]] if prop else _other(tongue))
    if len(groups) > wanted.max_themes:
        kept, rest = groups[: wanted.max_themes - 1], groups[wanted.max_themes - 1 :]
        numbers = tuple(number for one in rest for number in one.numbers)
        groups = [*kept, _Group(name=rest[0].name, numbers=numbers)]
    themes = [_theme(one, wanted.statements) for one in groups]
    return Structure(themes=tuple(themes if loser is None else _with_a_loss(themes, wanted.statements, loser)))


def find(wanted: CoverageWanted) -> Coverage:
    """For each statement the first theme with a tip that is the same, or whose tips name all properties it names."""
    entries = [
        CoverageEntry(criterion=number, theme=_theme_that_says(statement, wanted.themes))
        for number, statement in enumerate(wanted.statements, 1)
    ]
    return Coverage(entries=tuple(entries))


def _other(tongue: Tongue) -> str:
    return tongue.families[Family.OTHER]


def _groups(statements: Sequence[Statement], name_of: Callable[[Property | None], str]) -> list[_Group]:
    """Statements whose coarsest property has the same name, coarse to fine; those that name none come first."""
    found: dict[str, list[int]] = {}
    properties = [_coarsest(statement) for statement in statements]
    for prop in (None, *_COARSE_TO_FINE):
        numbers = [number for number, named in enumerate(properties, 1) if named is prop]
        if numbers:
            found.setdefault(name_of(prop), []).extend(numbers)
    return [_Group(name=name, numbers=tuple(numbers)) for name, numbers in found.items()]


def _coarsest(statement: Statement) -> Property | None:
    named = named_properties(statement.text)
    return next((prop for prop in _COARSE_TO_FINE if prop in named), None)


def _theme(one: _Group, statements: Sequence[Statement]) -> StructuredTheme:
    tips = dict.fromkeys(_said(statements[number - 1]) for number in one.numbers)
    return StructuredTheme(theme=one.name, tips=tuple(tips), covers=one.numbers)


def _said(statement: Statement) -> str:
    return " ".join(statement.tips) or statement.theme


def _with_a_loss(
    themes: Sequence[StructuredTheme], statements: Sequence[Statement], loser: random.Random
) -> list[StructuredTheme]:
    """One statement gone, if possible one that alone names its properties; a theme left without tips goes with it."""
    said = [_said(statement) for statement in statements]
    lost = loser.choice([text for text in said if not _is_said_elsewhere(text, said)] or said)
    left = [one.model_copy(update={"tips": tuple(tip for tip in one.tips if tip != lost)}) for one in themes]
    kept = [one for one in left if one.tips]
    if not kept:
        return list(themes)  # there was but one statement
    claimed = tuple(number for one in left if not one.tips for number in one.covers)
    return [kept[0].model_copy(update={"covers": (*kept[0].covers, *claimed)}), *kept[1:]]


def _is_said_elsewhere(text: str, said: Sequence[str]) -> bool:
    return any(named_properties(text) <= named_properties(other) for other in said if other != text)


def _theme_that_says(statement: Statement, themes: Sequence[Statement]) -> int:
    """Its number from 1; 0 = none does. The name of a theme says nothing."""
    said = _said(statement)
    named = named_properties(said)
    for number, theme in enumerate(themes, 1):
        if said in theme.tips or (named and named <= named_properties("\n".join(theme.tips))):
            return number
    return 0
