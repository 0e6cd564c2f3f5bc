"""What the judge is shown for comparing two images and for checking one, text-to-image and edit.

Owns layout and the fencing of foreign text; the words are in `templates`, and `chat_messages` turns a prompt into what
is sent.

Layout, in the order that lets a server reuse what it has already read. Pairwise: system and rubric text and the
exemplars of its guide (the same for every pair of a run), prompt, source image (edit), Image 1, Image 2, question.
Pointwise: system, prompt, source image (edit), image, and the criterion last, so that all criteria share what was read
before it; it has no exemplars, which compare. Labels are positional: "1" is the image shown first in both orders, so
that a preference for a label is part of the position bias and cancels with it.

The one rule: text from outside is data. It stands between fences that it cannot forge, never after the question, and
carries no control token of a chat template.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from services.judging.images import JudgeImage
from services.judging.questions import ShownExample
from services.judging.templates import Template, template_for
from shared_schemas.rubrics import Criterion, RubricContent, Task

TEMPLATE_VERSION = "en-2.zh-1"
"""Part of the judge's fingerprint, a number per language: a change of a language's wording raises its number, a change
of layout raises all of them."""


class Labels(NamedTuple):
    """The two answers a question allows."""

    first: str
    second: str


PAIR_LABELS = Labels("1", "2")
YES_NO_LABELS = Labels("yes", "no")

Part: TypeAlias = str | JudgeImage

_ZERO_WIDTH_JOINER = "\u200d"

_CONTROL_TOKEN_START = re.compile(r"<(?=[|/!_a-zA-Z\uff5c])|\[(?=/?[A-Z_]+\])")
"""Where a control token of a known chat template could begin: `<|im_end|>`, `</s>`, `<start_of_turn>`, `[INST]`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgePrompt:
    """One question to the judge: a system message, and the parts of one user message in order."""

    system: str
    parts: tuple[Part, ...]
    labels: Labels
    """What it may answer."""
    num_shared_parts: int
    """Parts at the start that its siblings begin with too: pairwise the exemplars of the guide, shared by a run as the
    system text is; pointwise all but the criterion and the question."""


def pair_prompt(
    prompt: str,
    first: JudgeImage,
    second: JudgeImage,
    *,
    source: JudgeImage | None,
    rubric: RubricContent,
    guide: Sequence[ShownExample] = (),
) -> JudgePrompt:
    """Show `first` as Image 1 and `second` as Image 2, judged by `rubric` (no criteria: by the judge's own taste).

    `guide` is the rubric's guide with its images. Raises `ValueError` when an edit or one of its exemplars lacks its
    source image, when something of a text-to-image rubric has one, and when exemplars are missing or too many.
    """
    _check_source(source, rubric)
    template = _template(rubric)
    shared = _guide_parts(guide, rubric)
    parts = [
        *(*shared, *_prompt_parts(prompt, source, template)),
        *(template.first, first, template.second, second, template.which.format(**PAIR_LABELS._asdict())),
    ]
    return JudgePrompt(system=_system(rubric), parts=tuple(parts), labels=PAIR_LABELS, num_shared_parts=len(shared))


def criterion_prompt(
    prompt: str, image: JudgeImage, *, source: JudgeImage | None, criterion: Criterion, rubric: RubricContent
) -> JudgePrompt:
    """Ask whether `image` meets one criterion of `rubric`; its other criteria and its guide have no part in it.

    Raises `ValueError` when an edit lacks its source image, or a text-to-image rubric gets one.
    """
    _check_source(source, rubric)
    template = _template(rubric)
    shared = [*_prompt_parts(prompt, source, template), template.image, image]
    text = "\n".join([_one_line(criterion.theme), *(f"- {_one_line(tip)}" for tip in criterion.tips)])
    question = template.whether.format(**YES_NO_LABELS._asdict())
    return JudgePrompt(
        system="\n\n".join([template.check, *_task_description(rubric)]),
        parts=(*shared, f"{template.criterion}\n{fence('CRITERION', text)}", question),
        labels=YES_NO_LABELS,
        num_shared_parts=len(shared),
    )


def fence(name: str, text: str) -> str:
    """Put foreign text between two lines that carry a code made from the text itself.

    The code is sha256(text)[:16]: the same on every replay, and not forgeable from inside, because a text that contains
    its own hash would have to be found by trying 2^64 of them.
    """
    inert = neutralise(text)
    code = fence_code(inert)
    return f"BEGIN {name} {code}\n{inert}\nEND {name} {code}"


def fence_code(text: str) -> str:
    """The code of the fence around `text`: 16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def neutralise(text: str) -> str:
    """Break what a chat template would read as a control token.

    A zero-width joiner after the opening `<` or `[` keeps the text readable, and makes `<|im_end|>` eleven ordinary
    characters instead of one token.
    """
    return _CONTROL_TOKEN_START.sub(lambda match: match.group() + _ZERO_WIDTH_JOINER, text)


def _check_source(source: JudgeImage | None, rubric: RubricContent) -> None:
    if (rubric.task is Task.EDIT) != (source is not None):
        raise ValueError("a source image belongs to rubric sets for edit, and to no others")


def _template(rubric: RubricContent) -> Template:
    return template_for(rubric.task, rubric.language)


def _guide_parts(guide: Sequence[ShownExample], rubric: RubricContent) -> list[Part]:
    """The exemplars, better image first: the same in both orders of a pair, so that they favour no order."""
    if len(guide) != len(rubric.guide):
        raise ValueError(f"the rubric set has {len(rubric.guide)} exemplars, and {len(guide)} are shown")
    if not guide:
        return []
    template = _template(rubric)
    parts: list[Part] = [template.examples]
    for number, example in enumerate(guide, 1):
        _check_source(example.source, rubric)
        prompt = f"{template.example.format(number)}\n{template.prompt}\n{fence('EXAMPLE', example.prompt)}"
        parts += [prompt] if example.source is None else [prompt, template.source, example.source]
        parts += [template.preferred, example.preferred, template.dispreferred, example.dispreferred]
        parts += [f"{template.rationale}\n{fence('RATIONALE', example.rationale)}"]
    return [*parts, template.end_of_examples]


def _prompt_parts(prompt: str, source: JudgeImage | None, template: Template) -> list[Part]:
    parts: list[Part] = [f"{template.prompt}\n{fence('PROMPT', prompt)}"]
    return parts if source is None else [*parts, template.source, source]


def _task_description(rubric: RubricContent) -> list[str]:
    description = rubric.task_description
    return [f"{_template(rubric).purpose}\n{fence('TASK', description)}"] if description else []


@lru_cache(maxsize=64)
def _system(rubric: RubricContent) -> str:
    template = _template(rubric)
    blocks = [template.compare, *_task_description(rubric)]
    if rubric.criteria:
        lines = [
            line
            for number, criterion in enumerate(rubric.criteria, 1)
            for line in _criterion(number, criterion, template)
        ]
        blocks.append(f"{template.with_criteria}\n{fence('CRITERIA', chr(10).join(lines))}")
    else:
        blocks.append(template.without_criteria)
    return "\n\n".join(blocks)


def _criterion(number: int, criterion: Criterion, template: Template) -> list[str]:
    """One line for the theme and one per tip; line breaks inside become blanks, so that none can pose as another."""
    theme = f"{number}. {_one_line(criterion.theme)}{template.weight.format(f'{criterion.weight:g}')}"
    return [theme, *(f"- {_one_line(tip)}" for tip in criterion.tips)]


def _one_line(text: str) -> str:
    return " ".join(text.split())
