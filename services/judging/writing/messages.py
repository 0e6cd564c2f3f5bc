"""The messages of all questions: what stands where.

A system message says who the model is and what its answer must be like; one message of the user shows prompt, source
and images, then what people said, then texts to work on, and the question last. Each stands in a part of its own.
"""

from collections.abc import Iterable, Sequence

from services.judging.chat_messages import ChatMessage, Role
from services.judging.prompts import Part, fence
from services.judging.templates import Template, template_for
from services.judging.writing.chinese import CHINESE_EDIT, CHINESE_T2I
from services.judging.writing.critique import critique_in_words
from services.judging.writing.english import ENGLISH_EDIT, ENGLISH_T2I
from services.judging.writing.shapes import Assignment, Critique, Diagnosis, LabelledImages, ProposedCriterion
from services.judging.writing.wording import Wording
from shared_schemas.rubrics import Criterion, Language, RubricContent, Task

WORDINGS = {
    (Task.T2I, Language.EN): ENGLISH_T2I,
    (Task.EDIT, Language.EN): ENGLISH_EDIT,
    (Task.T2I, Language.ZH): CHINESE_T2I,
    (Task.EDIT, Language.ZH): CHINESE_EDIT,
}
"""All words, for those who write and for those who read them back."""


def propose(labelled: LabelledImages, *, about: Assignment, num_criteria: int) -> tuple[ChatMessage, ...]:
    """Ask for `num_criteria` criteria that explain what people said; the answer is a `Proposal`.

    Raises `ValueError` when an edit lacks its source image, or a text-to-image prompt gets one.
    """
    words = _words(about)
    if len(labelled.images) == 1:
        question = words.propose_alone
    else:
        question = words.propose_tied if labelled.is_tie else words.propose_ranked
    parts = [*_shown(labelled, about), _label(labelled, about), question.format(num_criteria=num_criteria)]
    return _messages(_author(about), parts, about)


def revise(
    labelled: LabelledImages, *, about: Assignment, criteria: Sequence[ProposedCriterion], critique: Critique
) -> tuple[ChatMessage, ...]:
    """Ask for as many criteria in place of those that failed; the answer is a `Proposal`.

    Raises `ValueError` as `propose` does, and when the critique is not about these criteria and images.
    """
    if critique.criterion_scores is not None and len(critique.criterion_scores) != len(criteria):
        raise ValueError("a critique has scores of all criteria, or of none")
    words = _words(about)
    parts = [
        *_shown(labelled, about),
        _label(labelled, about),
        _titled(words.proposed, "CRITERIA", _statement_lines(criteria)),
        critique_in_words(critique, labelled=labelled, about=about, words=words),
        words.revise.format(num_criteria=len(criteria)),
    ]
    return _messages(_author(about), parts, about)


def structure(criteria: Sequence[ProposedCriterion], *, about: Assignment, max_themes: int) -> tuple[ChatMessage, ...]:
    """Ask for at most `max_themes` themes that say all criteria; the answer is a `Structure`."""
    words = _words(about)
    parts = [
        _titled(words.statements, "CRITERIA", _statement_lines(criteria)),
        words.structure.format(max_themes=max_themes),
    ]
    return _messages([words.editor], parts, about)


def coverage(
    criteria: Sequence[ProposedCriterion], themes: Sequence[Criterion], *, about: Assignment
) -> tuple[ChatMessage, ...]:
    """Ask which of the themes says each criterion; the answer is a `Coverage`."""
    words = _words(about)
    parts = [
        _titled(words.statements, "CRITERIA", _statement_lines(criteria)),
        _titled(words.themes, "THEMES", _theme_lines(themes)),
        words.coverage.format(num_statements=len(criteria)),
    ]
    return _messages([words.checker], parts, about)


def explain(labelled: LabelledImages, *, about: Assignment, rubric: RubricContent) -> tuple[ChatMessage, ...]:
    """Ask why the preferred image is better, in the terms of `rubric`; the answer is a `Rationale`.

    Raises `ValueError` as `propose` does.
    """
    words = _words(about)
    criteria = [_titled(words.rubric, "CRITERIA", _theme_lines(rubric.criteria))] if rubric.criteria else []
    parts = [*_shown(labelled, about), _label(labelled, about), *criteria, words.explain]
    return _messages([words.witness], parts, about)


def reason(labelled: LabelledImages, *, about: Assignment, num_criteria: int) -> tuple[ChatMessage, ...]:
    """Ask to look, to compare, and only then to write criteria for images that people ranked; answer: `Reasoned`.

    Raises `ValueError` as `propose` does.
    """
    question = _words(about).reason.format(num_criteria=num_criteria)
    return _messages(_author(about), [*_shown(labelled, about), _label(labelled, about), question], about)


def diagnose(labelled: LabelledImages, *, about: Assignment, criteria: Sequence[Criterion]) -> tuple[ChatMessage, ...]:
    """Ask what criteria miss that rank these images wrongly; the answer is a `Diagnosis`.

    Raises `ValueError` as `propose` does.
    """
    words = _words(about)
    in_use = _titled(words.in_use, "CRITERIA", _theme_lines(criteria))
    parts = [*_shown(labelled, about), _label(labelled, about), in_use, words.diagnose]
    return _messages([words.diagnostician], parts, about)


def extract(
    labelled: LabelledImages,
    *,
    about: Assignment,
    criteria: Sequence[Criterion],
    diagnosis: Diagnosis,
    num_criteria: int,
) -> tuple[ChatMessage, ...]:
    """Ask for criteria that say what a diagnosis says is missed; the answer is a `Proposal`.

    Raises `ValueError` as `propose` does.
    """
    words = _words(about)
    parts = [
        *_shown(labelled, about),
        _label(labelled, about),
        _titled(words.in_use, "CRITERIA", _theme_lines(criteria)),
        _titled(words.diagnosis, "DIAGNOSIS", [_one_line(diagnosis.dimension), _one_line(diagnosis.evidence)]),
        words.extract.format(num_criteria=num_criteria),
    ]
    return _messages(_author(about), parts, about)


def _words(about: Assignment) -> Wording:
    return WORDINGS[about.task, about.language]


def _titles(about: Assignment) -> Template:
    return template_for(about.task, about.language)


def _author(about: Assignment) -> list[str]:
    words = _words(about)
    return [words.author, words.uses[about.mode], words.rules]


def _messages(system: Sequence[str], parts: Sequence[Part], about: Assignment) -> tuple[ChatMessage, ...]:
    description = about.task_description
    purpose = [_titled(_titles(about).purpose, "TASK", [description])] if description else []
    text = "\n\n".join([*system, _words(about).guard, *purpose])
    return ChatMessage(role=Role.SYSTEM, parts=(text,)), ChatMessage(role=Role.USER, parts=tuple(parts))


def _shown(labelled: LabelledImages, about: Assignment) -> list[Part]:
    """Prompt, source and images, each image after its title."""
    if (about.task is Task.EDIT) != (labelled.source is not None):
        raise ValueError("a source image belongs to edits, and to nothing else")
    titles, words = _titles(about), _words(about)
    parts: list[Part] = [_titled(titles.prompt, "PROMPT", [labelled.prompt])]
    if labelled.source is not None:
        parts += [titles.source, labelled.source]
    for number, image in enumerate(labelled.images, 1):
        parts += [words.image_title.format(number=number), image]
    return parts


def _label(labelled: LabelledImages, about: Assignment) -> str:
    """What people said: the ranking of several images, and scores where there are some."""
    words = _words(about)
    names = [words.image.format(number=number) for number in range(1, len(labelled.images) + 1)]
    lines = []
    if len(names) > 1:
        places = [
            " = ".join(name for name, place in zip(names, labelled.places, strict=True) if place == wanted)
            for wanted in sorted(set(labelled.places))
        ]
        lines.append(words.ranking.format(ranking=" > ".join(places)))
    if labelled.scores is not None:
        pieces = [
            words.score.format(image=name, score=f"{score:g}")
            for name, score in zip(names, labelled.scores, strict=True)
        ]
        lines.append(_scores(words.comma.join(pieces), about))
    return "\n".join(lines)


def _scores(scores: str, about: Assignment) -> str:
    words = _words(about)
    if about.min_score is None or about.max_score is None:
        return words.scores.format(scores=scores)
    return words.scores_in_range.format(lowest=f"{about.min_score:g}", highest=f"{about.max_score:g}", scores=scores)


def _statement_lines(criteria: Sequence[ProposedCriterion]) -> list[str]:
    return _numbered((criterion.theme, (criterion.statement,)) for criterion in criteria)


def _theme_lines(themes: Sequence[Criterion]) -> list[str]:
    return _numbered((theme.theme, theme.tips) for theme in themes)


def _numbered(themes: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """One line for each theme and one for each tip; line breaks inside become blanks, so that none poses as another."""
    lines = []
    for number, (theme, tips) in enumerate(themes, 1):
        lines += [f"{number}. {_one_line(theme)}", *(f"- {_one_line(tip)}" for tip in tips)]
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _titled(title: str, name: str, lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    return f"{title}\n{fence(name, text)}"
