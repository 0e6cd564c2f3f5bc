"""From messages to what is wanted: reads back what `services.judging.writing` writes.

Owns the way from text to `wanted`; it gets no other input than any model that writes would.

The one rule: every text of ours stands in a part of its own and is recognised as a whole, by the template that it was
written with, so that nothing inside a fence can pass for a label or a question.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from services.judging.pixel_judge.parsing import ChatRequest, ImageUrl, QuestionError, decode_png, fenced_blocks
from services.judging.pixel_judge.wanted import (
    CoverageWanted,
    DiagnosisWanted,
    ExtractionWanted,
    ProposalWanted,
    RationaleWanted,
    ReasoningWanted,
    RevisionWanted,
    Scene,
    Statement,
    StructureWanted,
    Wanted,
    WritingRequest,
)
from services.judging.templates import template_for
from services.judging.writing.messages import WORDINGS
from services.judging.writing.wording import pattern_of
from shared_schemas.rubrics import Language, Task

_Shown: TypeAlias = Sequence[str | ImageUrl]

_NUM_LAST_TEXTS = 2
"""The question, or the question and after it the schema in words."""

_NUMBERED = re.compile(r"^\d+\. (.*)$")
_TIP = "- "


def read_writing_request(request: ChatRequest) -> WritingRequest | None:
    """What the messages ask to be written; None when they ask for no such thing. Raises `QuestionError`."""
    shown = request.shown
    texts = [part for part in shown if isinstance(part, str)]
    for language, reader in _READERS.items():
        for question in texts[-_NUM_LAST_TEXTS:]:
            wanted = reader.wanted(question, shown)
            if wanted is not None:
                return WritingRequest(wanted=wanted, language=language)
    return None


class _Reader:
    """The templates of one language as patterns; those that are read are the same for both tasks."""

    def __init__(self, language: Language) -> None:
        words = WORDINGS[Task.T2I, language]
        proposals = (words.propose_ranked, words.propose_tied, words.propose_alone)
        self._proposals = [pattern_of(question) for question in proposals]
        self._revision = pattern_of(words.revise)
        self._structure = pattern_of(words.structure)
        self._coverage = pattern_of(words.coverage)
        self._rationale = pattern_of(words.explain)
        self._reasoning = pattern_of(words.reason)
        self._diagnosis = pattern_of(words.diagnose)
        self._extraction = pattern_of(words.extract)
        self._source_title = template_for(Task.EDIT, language).source
        self._image_title = pattern_of(words.image_title)
        self._image = pattern_of(words.image)
        self._ranking = pattern_of(words.ranking)
        self._scores = pattern_of(words.scores)
        self._scores_in_range = pattern_of(words.scores_in_range)
        self._score = pattern_of(words.score)
        self._criterion = pattern_of(words.critique.criterion)
        self._words = words

    def wanted(self, question: str, shown: _Shown) -> Wanted | None:
        """What `question` asks for, about what is shown; None when it is no question of this language."""
        for pattern in self._proposals:
            if match := pattern.fullmatch(question):
                return ProposalWanted(scene=self._scene(shown), num_criteria=_whole(match["num_criteria"]))
        if self._revision.fullmatch(question):
            criteria = _numbered(shown, "CRITERIA")
            return RevisionWanted(scene=self._scene(shown), criteria=criteria, kept=self._kept(shown, len(criteria)))
        if match := self._structure.fullmatch(question):
            max_themes = _whole(match["max_themes"])
            return StructureWanted(statements=_numbered(shown, "CRITERIA"), max_themes=max_themes)
        if self._coverage.fullmatch(question):
            return CoverageWanted(statements=_numbered(shown, "CRITERIA"), themes=_numbered(shown, "THEMES"))
        if self._rationale.fullmatch(question):
            return RationaleWanted(scene=self._scene(shown), criteria=_numbered(shown, "CRITERIA"))
        return self._wanted_by_reasons(question, shown)

    def _wanted_by_reasons(self, question: str, shown: _Shown) -> Wanted | None:
        if match := self._reasoning.fullmatch(question):
            return ReasoningWanted(scene=self._scene(shown), num_criteria=_whole(match["num_criteria"]))
        if self._diagnosis.fullmatch(question):
            return DiagnosisWanted(scene=self._scene(shown), criteria=_numbered(shown, "CRITERIA"))
        if match := self._extraction.fullmatch(question):
            return ExtractionWanted(
                scene=self._scene(shown),
                criteria=_numbered(shown, "CRITERIA"),
                diagnosis=_fenced(shown, "DIAGNOSIS") or "",
                num_criteria=_whole(match["num_criteria"]),
            )
        return None

    def _scene(self, shown: _Shown) -> Scene:
        source, images = None, []
        for title, part in pairwise(shown):
            if isinstance(part, ImageUrl) and title == self._source_title:
                source = decode_png(part.url)
            elif isinstance(part, ImageUrl) and isinstance(title, str) and self._image_title.fullmatch(title):
                images.append(decode_png(part.url))
        prompt = _fenced(shown, "PROMPT")
        if not images or prompt is None:
            raise QuestionError("no images for a prompt were found in the messages")
        places, deserves = self._label(shown, len(images))
        return Scene(prompt=prompt, images=tuple(images), source=source, places=places, deserves=deserves)

    def _label(self, shown: _Shown, num_images: int) -> tuple[tuple[int, ...], float | None]:
        """Places, and what an image that stands alone deserves."""
        lines = [line for part in shown if isinstance(part, str) for line in self._label_lines(part)]
        if num_images == 1:
            return (1,), next((self._deserved(line) for line in lines), None)
        ranking = next((match["ranking"] for line in lines if (match := self._ranking.fullmatch(line))), None)
        if ranking is None:
            raise QuestionError("what people said of the images was not found in the messages")
        places = {
            self._number(name): place
            for place, names in enumerate(ranking.split(" > "), 1)
            for name in names.split(" = ")
        }
        if sorted(places) != list(range(1, num_images + 1)):
            raise QuestionError(f"the ranking does not place the {num_images} images")
        return tuple(places[number] for number in sorted(places)), None

    def _label_lines(self, part: str) -> list[str]:
        """The lines of a part that says nothing but what people said."""
        patterns = (self._ranking, self._scores, self._scores_in_range)
        lines = part.split("\n")
        is_label = all(any(pattern.fullmatch(line) for pattern in patterns) for line in lines)
        return lines if is_label else []

    def _deserved(self, line: str) -> float | None:
        found = self._scores_in_range.fullmatch(line)
        score = self._score.fullmatch(found["scores"]) if found else None
        if found is None or score is None:
            return None
        try:
            lowest, highest, given = float(found["lowest"]), float(found["highest"]), float(score["score"])
        except ValueError:
            raise QuestionError("a score is not a number") from None
        return (given - lowest) / (highest - lowest) if highest > lowest else None

    def _number(self, name: str) -> int:
        match = self._image.fullmatch(name)
        if match is None:
            raise QuestionError("the ranking names something else than images")
        return _whole(match["number"])

    def _kept(self, shown: _Shown, num_criteria: int) -> tuple[bool, ...] | None:
        """Which criteria the critique says to point the right way; None where it does not go through them."""
        critique = next((part for part in shown if isinstance(part, str) and self._is_critique(part)), "")
        matches = (self._criterion.fullmatch(line) for line in critique.split("\n"))
        points_right = self._words.critique.points_right
        kept = {_whole(match["number"]): match["verdict"] == points_right for match in matches if match}
        return tuple(kept.get(number, True) for number in range(1, num_criteria + 1)) if kept else None

    def _is_critique(self, part: str) -> bool:
        return part.startswith(f"{self._words.critique.introduction}\n")


_READERS = {language: _Reader(language) for language in Language}


def _fenced(shown: _Shown, name: str) -> str | None:
    return fenced_blocks("\n".join(part for part in shown if isinstance(part, str))).get(name)


def _numbered(shown: _Shown, name: str) -> tuple[Statement, ...]:
    """Numbered themes and what is said under them; none when there is no such fence."""
    found: list[Statement] = []
    for line in (_fenced(shown, name) or "").split("\n"):
        if match := _NUMBERED.match(line):
            found.append(Statement(theme=match[1], tips=()))
        elif found and line.startswith(_TIP):
            last = found.pop()
            found.append(Statement(theme=last.theme, tips=(*last.tips, line.removeprefix(_TIP))))
    return tuple(found)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise QuestionError("a number in the question is none")
    return int(text)
