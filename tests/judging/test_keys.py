"""A judgement key changes with everything that can change an answer, and with nothing else."""

from dataclasses import replace

from services.judging.images import JudgeImage
from services.judging.keys import judgement_key
from services.judging.prompts import PairPrompt, pair_prompt
from shared_schemas.rubrics import Criterion, RubricContent, Task

FINGERPRINT = "sha256:" + "0" * 64


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
    keys = {judgement_key(FINGERPRINT, prompt) for prompt in asked}
    assert len(keys) == len(asked)
    assert judgement_key("sha256:" + "1" * 64, asked[0]) not in keys


def test_the_same_question_has_the_same_key_however_its_pixels_were_compressed(
    red_circle: JudgeImage, rubric: RubricContent
) -> None:
    recompressed = replace(red_circle, png=b"other bytes, same pixels")
    prompts = [pair_prompt("p", image, image, source=None, rubric=rubric) for image in (red_circle, recompressed)]
    assert judgement_key(FINGERPRINT, prompts[0]) == judgement_key(FINGERPRINT, prompts[1])


def test_text_cannot_pose_as_an_image(red_circle: JudgeImage) -> None:
    with_image, with_text = (
        PairPrompt(system="s", parts=(red_circle,)),
        PairPrompt(system="s", parts=(red_circle.digest,)),
    )
    assert judgement_key(FINGERPRINT, with_image) != judgement_key(FINGERPRINT, with_text)
