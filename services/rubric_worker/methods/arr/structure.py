"""From selected statements to a few themes with tips, if nothing is lost on the way.

Owns the checks that a merged set must pass: it names every statement, each of its tips is about one image alone, a
second look finds every statement in it, and it judges no worse than the statements one by one. The one rule: whatever
fails, the statements stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.judging import writing
from services.judging.questions import JudgeFailure
from services.judging.writing import Coverage, ProposedCriterion, Structure
from services.rubric_worker.methods.arr.accuracy import judge_known
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.labels import Known
from services.rubric_worker.methods.lint import needs_a_rival, tidied
from services.rubric_worker.methods.statements import one_by_one, rubric_of, with_ids
from shared_schemas.rubrics import MAX_THEME_CHARS, MAX_TIP_CHARS, MAX_TIPS, Criterion, RubricContent


@dataclass(frozen=True, kw_only=True, slots=True)
class Structured:
    """A rubric set, and why its statements are not grouped where they should be."""

    content: RubricContent
    is_grouped: bool
    problem: str | None


async def structure(statements: Sequence[ProposedCriterion], proof: Sequence[Known], context: Context) -> Structured:
    """Group the statements into themes; `proof` is what the grouped set must judge as well as the statements do.

    Raises `JobFailedError` when a server stays away.
    """
    plain = rubric_of(one_by_one(statements), about=context.about)
    if not context.options.structure:
        return Structured(content=plain, is_grouped=False, problem=None)
    context.job.stage("structure", 2)
    themes = await _group(statements, context)
    context.job.advance()
    problem = themes if isinstance(themes, str) else await _what_is_lost(statements, themes, context)
    context.job.advance()
    if isinstance(themes, str) or problem is not None:
        return Structured(content=plain, is_grouped=False, problem=problem)
    grouped = rubric_of(themes, about=context.about)
    problem = await _how_much_worse(grouped, plain, proof, context)
    if problem is not None:
        return Structured(content=plain, is_grouped=False, problem=problem)
    return Structured(content=grouped, is_grouped=True, problem=None)


async def _group(statements: Sequence[ProposedCriterion], context: Context) -> tuple[Criterion, ...] | str:
    """Themes that name every statement, or what is wrong with those that were written."""
    messages = writing.structure(statements, about=context.about, max_themes=context.options.max_themes)
    answer = await context.write(
        messages, schema=Structure, stage="structure", item="themes", num_parts=len(statements)
    )
    if isinstance(answer, JudgeFailure):
        return f"no themes could be had: {answer.detail}"
    if len(answer.themes) > context.options.max_themes:
        return f"{len(answer.themes)} themes were written where at most {context.options.max_themes} were asked for"
    covered = {number for theme in answer.themes for number in theme.covers}
    if missing := set(range(1, len(statements) + 1)) - covered:
        return f"no theme covers {_listed(missing, statements)}"
    themes = [(tidied(theme.theme), [tip for tip in map(tidied, theme.tips) if tip]) for theme in answer.themes]
    if not all(_can_be_held(theme, tips) for theme, tips in themes):
        return "a theme was written that is empty or too long"
    for text in (text for theme, tips in themes for text in (theme, *tips)):
        if why := needs_a_rival(text):
            return f"a theme says “{text}”: {why}"
    return with_ids(themes)


async def _what_is_lost(
    statements: Sequence[ProposedCriterion], themes: Sequence[Criterion], context: Context
) -> str | None:
    """What a second look does not find in the themes; None when all is there."""
    messages = writing.coverage(statements, themes, about=context.about)
    answer = await context.write(
        messages, schema=Coverage, stage="structure", item="coverage", num_parts=len(statements)
    )
    if isinstance(answer, JudgeFailure):
        return f"whether the themes say everything could not be checked: {answer.detail}"
    said = {entry.criterion for entry in answer.entries if 1 <= entry.theme <= len(themes)}
    denied = {entry.criterion for entry in answer.entries if entry.theme == 0}
    lost = set(range(1, len(statements) + 1)) - (said - denied)
    return f"the themes do not say {_listed(lost, statements)}" if lost else None


async def _how_much_worse(
    grouped: RubricContent, plain: RubricContent, proof: Sequence[Known], context: Context
) -> str | None:
    """How the grouped set falls behind the plain one on `proof`; None when it does not."""
    rubrics = (grouped, plain)
    of_grouped, of_plain = await judge_known(proof, rubrics, context, stage="verify the themes")
    if not of_grouped:
        return "there is nothing to verify the themes on"
    if sum(of_grouped) >= sum(of_plain):
        return None
    num = len(of_grouped)
    return (
        f"grouped, the criteria are right on {sum(of_grouped):g} of {num} pairs that they are verified on, "
        f"one by one on {sum(of_plain):g}"
    )


def _can_be_held(theme: str, tips: Sequence[str]) -> bool:
    fits = len(theme) <= MAX_THEME_CHARS and len(tips) <= MAX_TIPS and all(len(tip) <= MAX_TIP_CHARS for tip in tips)
    return bool(theme) and bool(tips) and fits


def _listed(numbers: set[int], statements: Sequence[ProposedCriterion]) -> str:
    return "; ".join(f"“{statements[number - 1].statement}”" for number in sorted(numbers))
