"""The built-in judge: an OpenAI-compatible server that measures pixels instead of understanding pictures.

Owns a dozen measures and the API around them. It is a stand-in "with eyes" for demos, tests and wiring, not a
preference model: it knows colour words, three shapes and some statistics, and nothing else.

The one rule: only properties that the rubric text names weigh in its verdict, so better rubrics give better accuracy.
"""

from services.judging.pixel_judge.app import create_pixel_judge_app
from services.judging.pixel_judge.settings import MODEL_ID, Overflow, PixelJudgeSettings

__all__ = ["MODEL_ID", "Overflow", "PixelJudgeSettings", "create_pixel_judge_app"]
