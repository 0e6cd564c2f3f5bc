"""What the pixel judge is asked: the chat request, and the question inside its messages.

Owns reading back what `services.judging.prompts` writes for every judge; it gets no other input than a vision-language
model would. Refuses requests that do not hold such a question.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field

from services.judging.prompts import fence_code


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _ImageUrl(BaseModel):
    url: str


class _ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: _ImageUrl


_AnyPart: TypeAlias = Annotated[_Part | _ImagePart, Field(discriminator="type")]


class _Message(BaseModel):
    role: str
    content: str | list[_AnyPart]


class ChatRequest(BaseModel):
    """Body of `POST /v1/chat/completions`; what is not listed is ignored, as by most servers."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)
    logprob_token_ids: list[int] | None = None
    return_tokens_as_token_ids: bool = False

    @property
    def text(self) -> str:
        """All text of all messages."""
        return "\n".join(part for message in self.messages for part in _texts(message))


class QuestionError(ValueError):
    """The messages hold no question that this judge understands; `str()` says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenCriterion:
    """One criterion as it stands in the rubric text."""

    theme: str
    tips: tuple[str, ...]
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Which of two images is better?"""

    prompt: str
    criteria: tuple[WrittenCriterion, ...]
    """Empty = judge by your own taste."""
    first: bytes
    """PNG shown as Image 1."""
    second: bytes
    """PNG shown as Image 2."""
    source: bytes | None
    """PNG that was edited."""


_THEME = re.compile(r"^\d+\. (.*) \(weight ([0-9.e+-]+)\)$")


def read_question(request: ChatRequest) -> Question:
    """Find prompt, rubric and images. Raises `QuestionError`."""
    prompt = _fenced("PROMPT", request.text)
    if prompt is None:
        raise QuestionError("no fenced prompt was found in the messages")
    images = [_png(part.image_url.url) for message in request.messages for part in _image_parts(message)]
    if len(images) not in {2, 3}:
        raise QuestionError(f"two images and at most one source are judged, not {len(images)} images")
    source = images[0] if len(images) == 3 else None
    first, second = images[-2:]
    criteria = _criteria(_fenced("CRITERIA", request.text) or "")
    return Question(prompt=prompt, criteria=criteria, first=first, second=second, source=source)


def _texts(message: _Message) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text for part in message.content if isinstance(part, _Part)]


def _image_parts(message: _Message) -> list[_ImagePart]:
    return [part for part in message.content if isinstance(part, _ImagePart)]


def _fenced(name: str, text: str) -> str | None:
    """The first text between fences of this name whose code is really made from it."""
    for match in re.finditer(rf"BEGIN {name} ([0-9a-f]{{16}})\n(.*?)\nEND {name} \1", text, re.DOTALL):
        if fence_code(match[2]) == match[1]:
            return match[2]
    return None


def _criteria(text: str) -> tuple[WrittenCriterion, ...]:
    found: list[WrittenCriterion] = []
    for line in text.splitlines():
        if match := _THEME.match(line):
            found.append(WrittenCriterion(theme=match[1], tips=(), weight=float(match[2])))
        elif found and line.startswith("- "):
            last = found.pop()
            found.append(WrittenCriterion(theme=last.theme, tips=(*last.tips, line[2:]), weight=last.weight))
    return tuple(found)


def _png(url: str) -> bytes:
    head, _, encoded = url.partition(",")
    if head != "data:image/png;base64":
        raise QuestionError("images are taken as data:image/png;base64 URLs only")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise QuestionError("an image is not valid base64") from None
