"""What one question costs the judge in tokens: the real prompts, and Qwen3-VL's rule for images.

Owns counting. The one rule: the words are those of `services.judging.prompts`, so that a longer template is a dearer
question here too; only their tokens are estimated, since no tokenizer is loaded.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.judging.images import PATCH, JudgeImage, judged_size
from services.judging.prompts import Part, criterion_prompt, pair_prompt
from shared_schemas.rubrics import Criterion, Mode, RubricContent, Task

CHARS_PER_TOKEN = 4.0
"""Of English."""

CHAT_TOKENS = 13
"""Of Qwen's chat template around a system message, a user message and the beginning of the answer."""

IMAGE_MARKS = 2
"""`<|vision_start|>` and `<|vision_end|>`."""

SMALLEST_IMAGE = 256 * 256
"""Pixels that Qwen3-VL's processor brings smaller images up to (`size.shortest_edge` of its configuration)."""

_CODE = re.compile(r"\b[0-9a-f]{16}\b")
"""Of a fence."""

_TOKENS_PER_CODE = 14
"""Ten of sixteen hexadecimal digits are decimal on average, and Qwen reads those one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """The size of the judged images."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Width × height."""
        return self.width * self.height

    def as_judged(self, max_pixels: int) -> "Picture":
        """As the service sends it to the judge: scaled down where it has more than `max_pixels`."""
        if self.pixels <= max_pixels:
            return self
        width, height = judged_size(self.width, self.height, max_pixels=max_pixels)
        return Picture(width=width, height=height)

    @property
    def tokens(self) -> int:
        """Tokens that Qwen3-VL makes of it: one for 32 × 32 pixels, once both sides are rounded to multiples of 32.

        An image that is then smaller than `SMALLEST_IMAGE` is brought up to it, sides rounded up (`smart_resize` of
        transformers, factor = patch 16 × merge 2). Larger ones than its 16 million pixels never get here.
        """
        width, height = (round(side / PATCH) * PATCH for side in (self.width, self.height))
        if width * height < SMALLEST_IMAGE:
            scale = math.sqrt(SMALLEST_IMAGE / self.pixels)
            width, height = (math.ceil(side * scale / PATCH) * PATCH for side in (self.width, self.height))
        return width * height // PATCH**2


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked about one pair, or about one image, and with which texts."""

    task: Task
    mode: Mode
    picture: Picture
    """As judged."""
    rubric_tokens: int
    """Of all criteria together, exemplars of a guide included."""
    prompt_tokens: int
    """Of the prompt, or the edit instruction."""
    num_criteria: int = 1
    """Pointwise: questions about one image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallTokens:
    """One call to the judge."""

    whole: int
    """The request as it stands."""
    fresh: float
    """What a server with a prefix cache reads of it, on average over the calls of one pair or image."""


def call_tokens(question: Question) -> CallTokens:
    """Tokens of one call.

    Pairwise, system and rubric text are the same for all pairs of a run and are read once; what is left is read by
    every call, since the second order shows the images the other way round. Pointwise, the criteria of an image share
    all but the criterion: the first of C reads the image, the others only theirs.
    """
    return _pair_call(question) if question.mode is Mode.PAIRWISE else _criterion_call(question)


def text_tokens(text: str) -> float:
    """An estimate: `CHARS_PER_TOKEN`, but for the codes of fences."""
    num_codes = len(_CODE.findall(text))
    return (len(text) - 16 * num_codes) / CHARS_PER_TOKEN + _TOKENS_PER_CODE * num_codes


def _pair_call(question: Question) -> CallTokens:
    image, rubric = _sample(question)
    prompt = pair_prompt("", image, image, source=_source(question, image), rubric=rubric)
    shared = text_tokens(prompt.system) + question.rubric_tokens
    rest = _parts_tokens(prompt.parts, question) + question.prompt_tokens + CHAT_TOKENS
    return CallTokens(whole=round(shared + rest), fresh=rest)


def _criterion_call(question: Question) -> CallTokens:
    image, rubric = _sample(question)
    prompt = criterion_prompt("", image, source=_source(question, image), criterion=rubric.criteria[0], rubric=rubric)
    head, tail = prompt.parts[: prompt.num_shared_parts], prompt.parts[prompt.num_shared_parts :]
    of_image = _parts_tokens(head, question) + question.prompt_tokens + CHAT_TOKENS
    of_criterion = _parts_tokens(tail, question) + question.rubric_tokens / question.num_criteria
    whole = text_tokens(prompt.system) + of_image + of_criterion
    return CallTokens(whole=round(whole), fresh=of_image / question.num_criteria + of_criterion)


def _sample(question: Question) -> tuple[JudgeImage, RubricContent]:
    """An image that is never sent, and a rubric of nothing but its frame."""
    size = question.picture
    image = JudgeImage(digest="", width=size.width, height=size.height, png=b"")
    criterion = Criterion(id="any", theme="x")
    return image, RubricContent(task=question.task, mode=question.mode, criteria=(criterion,))


def _source(question: Question, image: JudgeImage) -> JudgeImage | None:
    return image if question.task is Task.EDIT else None


def _parts_tokens(parts: Sequence[Part], question: Question) -> float:
    of_image = question.picture.tokens + IMAGE_MARKS
    return sum(text_tokens(part) if isinstance(part, str) else of_image for part in parts)
