"""A judgement key changes with everything that can change an answer, and with nothing else."""

from dataclasses import replace

from services.judging.images import JudgeImage
from services.judging.keys import judgement_key
from services.judging.prompts import YES_NO_LABELS, JudgePrompt, criterion_prompt, pair_prompt
from services.judging.questions import ShownExample
from shared_schemas.rubrics import Criterion, Exemplar, Language, RubricContent, Task

FINGERPRINT = "sha256:" + "0" * 64


def key(prompt: JudgePrompt, *, fingerprint: str = FINGERPRINT, scope: str = "local") -> str:
    return judgement_key(fingerprint, prompt, scope=scope)


def test_every_ingredient_of_a_question_is_in_its_key(
    red_circle: JudgeImage, blue_square: JudgeImage, rubric: RubricContent
) -> None:
    reweighted = rubric.model_copy(
        update={"criteria": (rubric.criteria[0].model_copy(update={"weight": 2.0}), *rubric.criteria[1:])}
    )
    edit = RubricContent(task=Task.EDIT, criteria=(Criterion(id="c", theme="Colour"),))
    asked = [
        pair_prompt("a red circle", red_circle, blue_square, source=None, rubric=rubric),
        pair_prompt("a red circle", blue_square, red_circle, source=None, rubric=rubric),
        pair_prompt("a red square", red_circle, blue_square, source=None, rubric=rubric),
        pair_prompt("a red circle", red_circle, red_circle, source=None, rubric=rubric),
        pair_prompt("a red circle", red_circle, blue_square, source=None, rubric=reweighted),
        pair_prompt("a red circle", red_circle, blue_square, source=red_circle, rubric=edit),
        pair_prompt("a red circle", red_circle, blue_square, source=blue_square, rubric=edit),
    ]
    keys = {key(prompt) for prompt in asked}
    assert len(keys) == len(asked)
    assert key(asked[0], fingerprint="sha256:" + "1" * 64) not in keys


def test_the_same_question_has_the_same_key_however_its_pixels_were_compressed(
    red_circle: JudgeImage, rubric: RubricContent
) -> None:
    recompressed = replace(red_circle, png=b"other bytes, same pixels")
    prompts = [pair_prompt("p", image, image, source=None, rubric=rubric) for image in (red_circle, recompressed)]
    assert key(prompts[0]) == key(prompts[1])


def test_text_cannot_pose_as_an_image(red_circle: JudgeImage, blue_square: JudgeImage) -> None:
    with_image = pair_prompt("p", red_circle, blue_square, source=None, rubric=RubricContent(task=Task.T2I))
    parts = tuple(red_circle.digest if part is red_circle else part for part in with_image.parts)
    assert key(with_image) != key(replace(with_image, parts=parts))


def test_who_does_not_share_verdicts_has_other_keys(red_circle: JudgeImage, blue_square: JudgeImage) -> None:
    prompt = pair_prompt("p", red_circle, blue_square, source=None, rubric=RubricContent(task=Task.T2I))
    assert key(prompt, scope="one") != key(prompt, scope="other")


def test_the_labels_are_in_the_key(red_circle: JudgeImage, blue_square: JudgeImage) -> None:
    prompt = pair_prompt("p", red_circle, blue_square, source=None, rubric=RubricContent(task=Task.T2I))
    assert key(prompt) != key(replace(prompt, labels=YES_NO_LABELS))


def test_the_key_of_a_criterion_does_not_depend_on_the_set_it_stands_in(
    red_circle: JudgeImage, blue_square: JudgeImage, rubric: RubricContent
) -> None:
    colour, shape, _ = rubric.criteria
    alone = rubric.model_copy(update={"criteria": (colour.model_copy(update={"weight": 3.0}),)})
    asked = criterion_prompt("a red circle", red_circle, source=None, criterion=colour, rubric=rubric)
    again = criterion_prompt("a red circle", red_circle, source=None, criterion=alone.criteria[0], rubric=alone)
    assert key(again) == key(asked)
    others = [
        criterion_prompt("a red circle", red_circle, source=None, criterion=shape, rubric=rubric),
        criterion_prompt("a red circle", blue_square, source=None, criterion=colour, rubric=rubric),
        criterion_prompt("a red square", red_circle, source=None, criterion=colour, rubric=rubric),
    ]
    assert key(asked) not in {key(other) for other in others}


def test_the_language_of_a_rubric_set_is_in_the_key(red_circle: JudgeImage, blue_square: JudgeImage) -> None:
    keys = {
        key(pair_prompt("p", red_circle, blue_square, source=None, rubric=RubricContent(task=Task.T2I, language=each)))
        for each in Language
    }
    assert len(keys) == len(Language)


def test_everything_that_an_exemplar_shows_is_in_the_key(red_circle: JudgeImage, blue_square: JudgeImage) -> None:
    one = ShownExample(prompt="x", source=None, preferred=red_circle, dispreferred=blue_square, rationale="y")
    another = replace(one, prompt="z")
    guides = [
        *((), (one,), (another,), (one, another), (another, one)),
        *((replace(one, rationale="z"),), (replace(one, dispreferred=red_circle),)),
        (replace(one, preferred=blue_square, dispreferred=red_circle),),
    ]
    keys = set()
    for guide in guides:
        named = tuple(
            Exemplar(
                prompt=shown.prompt,
                preferred=shown.preferred.digest,
                dispreferred=shown.dispreferred.digest,
                rationale=shown.rationale,
            )
            for shown in guide
        )
        rubric = RubricContent(task=Task.T2I, guide=named)
        keys.add(key(pair_prompt("p", red_circle, blue_square, source=None, rubric=rubric, guide=guide)))
    assert len(keys) == len(guides)
