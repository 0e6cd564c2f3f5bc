"""Writes criteria about properties, none twice."""

import random
from collections.abc import Iterable

from services.judging.pixel_judge.phrases import Tongue
from services.judging.pixel_judge.properties import Property
from services.judging.writing.shapes import ProposedCriterion


class CriteriaAuthor:
    """Writes criteria, none twice."""

    def __init__(self, tongue: Tongue, dice: random.Random) -> None:
        self._tongue = tongue
        self._dice = dice
        self._said: set[str] = set()
        self._criteria: list[ProposedCriterion] = []

    @property
    def criteria(self) -> tuple[ProposedCriterion, ...]:
        """What has been written and kept."""
        return tuple(self._criteria)

    def remember(self, criterion: ProposedCriterion, *, keep: bool) -> None:
        """Never write this again; keep it as it is, or leave it out."""
        self._said.add(criterion.statement)
        if keep:
            self._criteria.append(criterion)

    def write(self, properties: Iterable[Property], *, up_to: int) -> None:
        """One criterion for each property, in order, until there are `up_to` in all."""
        for prop in properties:
            phrases = self._tongue.phrases[prop]
            sayable = zip(phrases.themes, phrases.statements, strict=True)
            unsaid = [(theme, statement) for theme, statement in sayable if statement not in self._said]
            if unsaid and len(self._criteria) < up_to:
                theme, statement = self._dice.choice(unsaid)
                self.remember(ProposedCriterion(theme=theme, statement=statement), keep=True)

    def fill(self, properties: Iterable[Property], *, up_to: int) -> None:
        """Say more about any of these, until there are `up_to` criteria or nothing is left to say."""
        in_any_order, num_before = shuffled(properties, self._dice), -1
        while len(self._criteria) != num_before:
            num_before = len(self._criteria)
            self.write(in_any_order, up_to=up_to)


def shuffled(properties: Iterable[Property], dice: random.Random) -> list[Property]:
    """What is plausible and explains nothing comes in any order."""
    in_any_order = list(properties)
    dice.shuffle(in_any_order)
    return in_any_order
