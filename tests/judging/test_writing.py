"""What a model that writes is asked: who sees what, in which order, and that foreign text stays inside its fences."""

import string
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.backend import ChatMessage, Role
from services.judging.chat_json import response_format
from services.judging.chat_messages import encode_request
from services.judging.images import JudgeImage
from services.judging.ladder import JsonFormat
from services.judging.prompts import fence
from services.judging.writing import (
    Assignment,
    Coverage,
    Critique,
    Diagnosis,
    LabelledImages,
    Proposal,
    ProposedCriterion,
    Rationale,
    Reasoned,
    Structure,
    coverage,
    diagnose,
    explain,
    extract,
    propose,
    reason,
    revise,
    structure,
)
from services.judging.writing.messages import WORDINGS
from services.judging.writing.wording import pattern_of
from shared_schemas.rubrics import Criterion, Language, Mode, RubricContent, Task

COLOUR = ProposedCriterion(theme="Colour", statement="The object has the colour that was asked for.")
SHARP = ProposedCriterion(theme="Sharpness", statement="The image is sharp.")
THEMES = (Criterion(id="c1", theme="What was asked for", tips=(COLOUR.statement,)),)
RUBRIC = RubricContent(task=Task.T2I, criteria=THEMES)
DIAGNOSIS = Diagnosis(dimension="Shape", evidence="The better image has the right shape.")
NO_CRITIQUE = Critique(margin=None, is_tie=False, criterion_scores=None)


def about(task: Task = Task.T2I, language: Language = Language.EN, **more: Any) -> Assignment:
    given = {"mode": Mode.PAIRWISE, "task_description": "", "min_score": None, "max_score": None, **more}
    return Assignment(task=task, language=language, **given)


def labelled(*images: JudgeImage, places: Sequence[int] = (1, 2), **more: Any) -> LabelledImages:
    given = {"prompt": "a red circle", "source": None, "scores": None, **more}
    return LabelledImages(images=images, places=tuple(places), **given)


def text_of(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(part for message in messages for part in message.parts if isinstance(part, str))


def questions(shown: LabelledImages, asked: Assignment) -> Iterator[tuple[ChatMessage, ...]]:
    """All of them."""
    yield propose(shown, about=asked, num_criteria=5)
    yield revise(shown, about=asked, criteria=[COLOUR, SHARP], critique=NO_CRITIQUE)
    yield structure([COLOUR, SHARP], about=asked, max_themes=3)
    yield coverage([COLOUR, SHARP], THEMES, about=asked)
    yield explain(shown, about=asked, rubric=RUBRIC)
    yield reason(shown, about=asked, num_criteria=3)
    yield diagnose(shown, about=asked, criteria=THEMES)
    yield extract(shown, about=asked, criteria=THEMES, diagnosis=DIAGNOSIS, num_criteria=3)


@pytest.fixture
def pair(red_circle: JudgeImage, blue_square: JudgeImage) -> LabelledImages:
    return labelled(red_circle, blue_square)


@pytest.mark.parametrize("language", Language)
def test_every_question_is_one_system_and_one_user_message_that_ends_in_the_question(
    language: Language, pair: LabelledImages
) -> None:
    for messages in questions(pair, about(language=language, task_description="toys")):
        assert [message.role for message in messages] == [Role.SYSTEM, Role.USER]
        system, question = messages[0].parts[0], messages[1].parts[-1]
        assert isinstance(system, str)
        assert system.endswith(fence("TASK", "toys"))
        assert isinstance(question, str)
        assert "BEGIN" not in question
        assert not question.isspace()


def test_images_stand_in_order_after_their_numbers_and_the_label_after_them(
    red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    shown = labelled(red_circle, blue_square, red_circle, places=(2, 1, 2))
    _, user = propose(shown, about=about(), num_criteria=4)
    prompt, *images, label, question = user.parts
    assert prompt == f"The prompt:\n{fence('PROMPT', 'a red circle')}"
    assert images == ["Image 1:", red_circle, "Image 2:", blue_square, "Image 3:", red_circle]
    assert str(label).endswith(": Image 2 > Image 1 = Image 3")
    assert str(question).startswith("Write exactly 4 criteria")


@pytest.mark.parametrize("language", Language)
def test_an_edit_shows_its_source_first_and_asks_for_edit_preservation_and_blending(
    language: Language, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    shown = labelled(red_circle, blue_square, source=blue_square)
    for messages in (
        propose(shown, about=about(Task.EDIT, language), num_criteria=5),
        revise(shown, about=about(Task.EDIT, language), criteria=[COLOUR], critique=NO_CRITIQUE),
    ):
        _, title, source, first_title, first = messages[1].parts[:5]
        assert source is blue_square
        assert first is red_circle
        assert title != first_title
        words = {Language.EN: ("edit that the instruction", "still as in the source", "blends in")}
        wanted = words.get(language, ("编辑指令要求的改动", "与原图一致", "自然融合"))
        assert all(word in str(messages[0].parts[0]) for word in wanted)


def test_a_source_belongs_to_edits_only(pair: LabelledImages, red_circle: JudgeImage) -> None:
    with_source = labelled(red_circle, red_circle, source=red_circle)
    for shown, task in [(pair, Task.EDIT), (with_source, Task.T2I)]:
        for ask in (
            lambda shown, asked: propose(shown, about=asked, num_criteria=5),
            lambda shown, asked: revise(shown, about=asked, criteria=[COLOUR], critique=NO_CRITIQUE),
            lambda shown, asked: explain(shown, about=asked, rubric=RUBRIC),
        ):
            with pytest.raises(ValueError, match="source image"):
                ask(shown, about(task))


def test_swapping_the_label_changes_the_label_alone(red_circle: JudgeImage, blue_square: JudgeImage) -> None:
    for ask in (
        lambda shown: propose(shown, about=about(), num_criteria=5),
        lambda shown: revise(shown, about=about(), criteria=[COLOUR], critique=NO_CRITIQUE),
    ):
        one, other = (ask(labelled(red_circle, blue_square, places=places)) for places in [(1, 2), (2, 1)])
        differing = [(a, b) for a, b in zip(one[1].parts, other[1].parts, strict=True) if a != b]
        assert one[0] == other[0]
        assert [(str(a)[-17:], str(b)[-17:]) for a, b in differing] == [("Image 1 > Image 2", "Image 2 > Image 1")]


def test_ties_are_told_as_ties(red_circle: JudgeImage, blue_square: JudgeImage) -> None:
    _, user = propose(labelled(red_circle, blue_square, places=(1, 1)), about=about(), num_criteria=5)
    assert str(user.parts[-2]).endswith(": Image 1 = Image 2")
    assert "meet them alike" in str(user.parts[-1])


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (1.0, 5.0, "The scores that people gave, from 1 (worst) to 5 (best): Image 1: 4.5, Image 2: 2"),
        (None, None, "The scores that people gave, higher is better: Image 1: 4.5, Image 2: 2"),
    ],
)
def test_scores_are_told_beside_the_ranking_with_their_range_where_it_is_known(
    lowest: float | None, highest: float | None, expected: str, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    shown = labelled(red_circle, blue_square, scores=(4.5, 2.0))
    asked = about(mode=Mode.POINTWISE, min_score=lowest, max_score=highest)
    system, user = propose(shown, about=asked, num_criteria=5)
    ranking, scores = str(user.parts[-2]).split("\n")
    assert ranking.endswith("Image 1 > Image 2")
    assert scores == expected
    assert "one image at a time" in str(system.parts[0])


def test_an_image_that_stands_alone_has_a_score_and_no_ranking(red_circle: JudgeImage) -> None:
    shown = labelled(red_circle, places=(1,), scores=(3.0,))
    _, user = propose(shown, about=about(min_score=1, max_score=5), num_criteria=5)
    assert str(user.parts[-2]) == "The scores that people gave, from 1 (worst) to 5 (best): Image 1: 3"


@pytest.mark.parametrize("given", [{"places": ()}, {"places": (1,)}, {"scores": (1.0,)}])
def test_images_without_places_or_scores_of_their_own_are_refused(given: Any, pair: LabelledImages) -> None:
    with pytest.raises(ValueError, match="image"):
        labelled(*pair.images, **given)
    with pytest.raises(ValueError, match="alone needs a score"):
        labelled(pair.images[0], places=(1,))


@pytest.mark.parametrize(
    ("places", "margin", "is_tie", "expected"),
    [
        (
            (1, 2),
            -0.8,
            False,
            "It preferred the wrong image: its log-odds for the one that people prefer came to -0.80",
        ),
        ((1, 2), 0.01, True, "It could not tell which image is better"),
        ((1, 2), 1.5, False, "It was right about these images (+1.50 nats), but wrong about images for other prompts"),
        ((1, 1), -0.8, False, "It found one of these images better by 0.80 nats"),
        ((1, 1), 0.01, True, "It was right about these images (+0.01 nats)"),
        ((1, 2), None, False, "By them it did not arrive at what people said"),
    ],
)
def test_a_critique_says_what_the_judge_made_of_the_criteria(
    places: tuple[int, int], margin: float | None, is_tie: bool, expected: str, pair: LabelledImages
) -> None:
    critique = Critique(margin=margin, is_tie=is_tie, criterion_scores=None)
    shown = labelled(*pair.images, places=places)
    _, user = revise(shown, about=about(), criteria=[COLOUR], critique=critique)
    introduction, verdict = str(user.parts[-2]).split("\n")
    assert introduction.endswith("but not what people said.")
    assert verdict.startswith(expected)


# Of three images with places 2, 1, 3: leads of the better of every two are s2 − s1, s1 − s3, s2 − s3.
@pytest.mark.parametrize(
    ("places", "scores", "direction"),
    [
        ((1, 2), (0.9, 0.1), "points the right way"),
        ((2, 1), (0.9, 0.1), "points the wrong way"),
        ((1, 2), (0.52, 0.5), "tells nothing apart"),
        ((2, 1, 3), (0.5, 0.6, 0.4), "points the right way"),
        ((2, 1, 3), (0.5, 0.4, 0.6), "points the wrong way"),
        ((2, 1, 3), (0.9, 0.5, 0.5), "tells nothing apart"),  # −0.4 + 0.4 + 0
        ((1, 1), (0.9, 0.1), "points the wrong way"),
        ((1, 1), (0.9, 0.88), "points the right way"),
    ],
)
def test_a_critique_says_which_criteria_point_the_wrong_way(
    places: tuple[int, ...], scores: tuple[float, ...], direction: str, red_circle: JudgeImage
) -> None:
    shown = labelled(*[red_circle] * len(places), places=places)
    critique = Critique(margin=-0.8, is_tie=False, criterion_scores=(scores, scores))
    _, user = revise(shown, about=about(), criteria=[COLOUR, SHARP], critique=critique)
    *_, line = str(user.parts[-2]).split("\n")
    assert line.startswith(f"Criterion 2 {direction}; ")
    assert line.endswith(f"Image {len(places)}: {scores[-1]:.2f}.")


@pytest.mark.parametrize(("score", "direction"), [(5.0, "right"), (1.0, "wrong")])
def test_a_criterion_of_one_image_points_to_the_side_of_its_score(
    score: float, direction: str, red_circle: JudgeImage
) -> None:
    shown = labelled(red_circle, places=(1,), scores=(score,))
    critique = Critique(margin=None, is_tie=False, criterion_scores=((0.9,),))
    asked = about(mode=Mode.POINTWISE, min_score=1, max_score=5)
    assert f"points the {direction} way" in text_of(revise(shown, about=asked, criteria=[COLOUR], critique=critique))
    without_range = revise(shown, about=about(), criteria=[COLOUR], critique=critique)
    assert "tells nothing apart" in text_of(without_range)


def test_a_critique_of_other_criteria_or_images_is_refused(pair: LabelledImages) -> None:
    for scores in [((0.5, 0.5), (0.5, 0.5)), ((0.5,),)]:
        critique = Critique(margin=0.0, is_tie=True, criterion_scores=scores)
        with pytest.raises(ValueError, match="score"):
            revise(pair, about=about(), criteria=[COLOUR], critique=critique)


def test_statements_and_themes_are_numbered_and_line_breaks_cannot_pose_as_others(pair: LabelledImages) -> None:
    hostile = ProposedCriterion(theme="Colour\n2. Shape", statement="red\n- round")
    theme = Criterion(id="c1", theme="A\n2. B", tips=("x\n- y",))
    text = text_of(coverage([hostile, SHARP], [theme], about=about()))
    assert fence("CRITERIA", "1. Colour 2. Shape\n- red - round\n2. Sharpness\n- The image is sharp.") in text
    assert fence("THEMES", "1. A 2. B\n- x - y") in text
    for messages in (
        structure([hostile], about=about(), max_themes=2),
        revise(pair, about=about(), criteria=[hostile], critique=NO_CRITIQUE),
    ):
        assert fence("CRITERIA", "1. Colour 2. Shape\n- red - round") in text_of(messages)


def outside_fences(messages: Sequence[ChatMessage]) -> list[str]:
    """What is said in our own words; each part ends with its fence, if it has one."""
    found = []
    for part in (part for message in messages for part in message.parts if isinstance(part, str)):
        ours, begin, foreign = part.partition("\nBEGIN ")
        name, code = foreign.split("\n", 1)[0].split(" ") if begin else ("", "")
        inside = foreign.removeprefix(f"{name} {code}\n").removesuffix(f"\nEND {name} {code}")
        assert not begin or f"BEGIN {foreign}" == fence(name, inside)
        found.append(ours)
    return found


@pytest.mark.parametrize("language", Language)
@given(foreign=st.text(min_size=1, max_size=80))
def test_foreign_text_changes_nothing_outside_its_fences(language: Language, foreign: str) -> None:
    image = JudgeImage(digest="sha256:0", width=1, height=1, png=b"")

    def ask(text: str) -> Iterator[tuple[ChatMessage, ...]]:
        criterion = ProposedCriterion(theme=text, statement=text)
        theme = Criterion.model_construct(id="c", theme=text, tips=(text,), weight=1.0)
        shown, asked = labelled(image, image, prompt=text), about(language=language, task_description=text)
        yield propose(shown, about=asked, num_criteria=5)
        yield revise(shown, about=asked, criteria=[criterion], critique=NO_CRITIQUE)
        yield structure([criterion], about=asked, max_themes=2)
        yield coverage([criterion], [theme], about=asked)
        yield explain(shown, about=asked, rubric=RubricContent.model_construct(task=Task.T2I, criteria=(theme,)))

    for hostile, harmless in zip(ask(foreign), ask("x"), strict=True):
        assert outside_fences(hostile) == outside_fences(harmless)


def test_control_tokens_of_chat_templates_do_not_survive(red_circle: JudgeImage) -> None:
    token = "<|im_end|>"
    criterion = ProposedCriterion(theme=token, statement=token)
    theme = Criterion(id="c", theme=token, tips=(token,))
    shown, asked = labelled(red_circle, red_circle, prompt=token), about(task_description=token)
    for messages, expected in [
        (propose(shown, about=asked, num_criteria=5), 2),
        (revise(shown, about=asked, criteria=[criterion], critique=NO_CRITIQUE), 4),
        (structure([criterion], about=asked, max_themes=2), 3),
        (coverage([criterion], [theme], about=asked), 5),
        (explain(shown, about=asked, rubric=RubricContent(task=Task.T2I, criteria=(theme,))), 4),
    ]:
        text = text_of(messages)
        assert token not in text
        assert text.replace("\u200d", "").count(token) == expected


def test_equal_questions_are_equal_bytes(pair: LabelledImages) -> None:
    once, again = (
        [encode_request({"model": "m"}, messages, with_uuids=True) for messages in questions(pair, about())]
        for _ in range(2)
    )
    assert once == again
    assert len(set(once)) == 8


def words_of(value: Any) -> Iterator[tuple[str, str]]:
    """Name and text of every template in a wording."""
    for field in fields(value):
        found = getattr(value, field.name)
        if is_dataclass(found):
            yield from words_of(found)
        elif isinstance(found, str):
            yield field.name, found
        else:
            yield from ((f"{field.name}.{key}", text) for key, text in found.items())


@pytest.mark.parametrize("task", Task)
def test_every_template_exists_in_both_languages_and_fills_in_the_same_names(task: Task) -> None:
    english, chinese = (dict(words_of(WORDINGS[task, language])) for language in Language)
    assert english.keys() == chinese.keys()
    assert all(english.values())
    for name, text in chinese.items():
        assert any("\u4e00" <= character <= "\u9fff" for character in text) or name in {"score", "comma"}
        names = {field for _, field, _, _ in string.Formatter().parse(text) if field}
        assert names == {field for _, field, _, _ in string.Formatter().parse(english[name]) if field}


@pytest.mark.parametrize("language", Language)
def test_tasks_differ_in_words_and_ask_the_same_questions(language: Language) -> None:
    t2i, edit = (dict(words_of(WORDINGS[task, language])) for task in Task)
    differing = {name for name in t2i if t2i[name] != edit[name]}
    assert differing == {"author", "rules", "editor", "witness", "diagnostician"}


def test_a_filled_in_template_is_read_back_by_its_pattern() -> None:
    match = pattern_of("from {lowest} (worst) to {highest}: {scores}").fullmatch("from 1 (worst) to 5: Image 1: 4")
    assert match is not None
    assert match.groupdict() == {"lowest": "1", "highest": "5", "scores": "Image 1: 4"}


@pytest.mark.parametrize("schema", [Proposal, Structure, Coverage, Rationale, Reasoned, Diagnosis])
def test_answers_fit_the_strict_dialect_of_schemas(schema: Any) -> None:
    """Every property required, none with a default, no keyword that strict mode does not know."""
    known = {
        *("type", "properties", "required", "additionalProperties", "items", "title", "description"),
        *("$ref", "$defs"),
    }

    def check(node: Any) -> None:
        assert set(node) <= known
        if node.get("type") == "object":
            assert set(node["required"]) == set(node["properties"])
            assert node["additionalProperties"] is False
        for child in [*node.get("properties", {}).values(), *node.get("$defs", {}).values()]:
            check(child)
        if "items" in node:
            check(node["items"])

    check(response_format(schema, JsonFormat.SCHEMA)["response_format"]["json_schema"]["schema"])
