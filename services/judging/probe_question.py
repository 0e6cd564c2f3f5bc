"""The question a judge is asked at start-up: a real one, so that a server that can answer it can answer all.

Owns nothing but its content; the answer itself is not looked at, only whether it can be read.
"""

import io

from PIL import Image

from services.judging.images import JudgeImage, read_png
from services.judging.prompts import JudgePrompt, pair_prompt
from shared_schemas.rubrics import RubricContent, Task

_SIDE = 64
"""Pixels; vision encoders refuse images below 28 or 32."""


def _plain(colour: str) -> JudgeImage:
    buffer = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), colour).save(buffer, format="PNG")
    return read_png(buffer.getvalue())


def probe_question() -> JudgePrompt:
    """White or black: which one is a white square?"""
    rubric = RubricContent(task=Task.T2I)
    return pair_prompt("a white square", _plain("white"), _plain("black"), source=None, rubric=rubric)
