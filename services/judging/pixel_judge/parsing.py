"""What the pixel judge is asked: the chat request, and the question inside its messages.

Owns reading back what `services.judging.prompts` writes for every judge; it gets no other input than a vision-language
model would. Refuses requests that do not hold such a question.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from services.judging.prompts import PAIR_LABELS, YES_NO_LABELS, Labels, fence_code

MAX_REASON_CHARS = 4096
"""Longest text that a schema may ask for."""


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class ImageUrl(BaseModel):
    """Where an image is: a data URL, for this judge."""

    url: str


class ImagePart(BaseModel):
    """An image with its bytes, or only the name of one that was shown before."""

    type: Literal["image_url"]
    image_url: ImageUrl | None
    uuid: str | None = Field(default=None, exclude=True)

    @property
    def address(self) -> ImageUrl:
        """Where its bytes are. Raises `QuestionError` when there are none."""
        if self.image_url is None:
            raise QuestionError("an image has neither bytes nor the name of one that was shown before")
        return self.image_url


_AnyPart: TypeAlias = Annotated[_Part | ImagePart, Field(discriminator="type")]


class _Message(BaseModel):
    role: str
    content: str | list[_AnyPart]


class _Property(BaseModel):
    enum: list[Any] = []
    min_length: int = Field(default=0, ge=0, le=MAX_REASON_CHARS, alias="minLength")


class _Schema(BaseModel):
    properties: dict[str, _Property] = {}


class _JsonSchema(BaseModel):
    content: _Schema = Field(default_factory=_Schema, alias="schema")


class ResponseFormat(BaseModel):
    """What the answer's text must look like."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: _JsonSchema = Field(default_factory=_JsonSchema)

    @property
    def choice(self) -> tuple[str, list[Any]]:
        """The property that holds the answer and the values it allows; `answer` and none when the schema is silent."""
        choices = self.json_schema.content.properties.items()
        return next(((name, found.enum) for name, found in choices if len(found.enum) > 1), ("answer", []))

    @property
    def reasons(self) -> dict[str, int]:
        """The properties that ask for a text, and how many characters each must have at least."""
        choices = self.json_schema.content.properties.items()
        return {name: found.min_length for name, found in choices if found.min_length}


class ChatRequest(BaseModel):
    """Body of `POST /v1/chat/completions`; what is not listed is ignored, as by most servers."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)
    logprob_token_ids: list[int] | None = None
    allowed_token_ids: list[int] | None = None
    return_tokens_as_token_ids: bool = False
    response_format: ResponseFormat = Field(default_factory=ResponseFormat)
    seed: int | None = None
    """Of the words that it writes; a label has none."""

    @property
    def text(self) -> str:
        """All text of all messages."""
        return "\n".join(part for message in self.messages for part in _texts(message))

    @property
    def shown(self) -> list[str | ImageUrl]:
        """Texts and images of all messages, in order."""
        return [part for message in self.messages for part in _contents(message)]

    @property
    def image_parts(self) -> list[ImagePart]:
        """The images of all messages, in order."""
        contents = [message.content for message in self.messages if isinstance(message.content, list)]
        return [part for content in contents for part in content if isinstance(part, ImagePart)]

    @property
    def wants_log_probs(self) -> bool:
        """Whether it asks for log-probabilities in any way."""
        return self.logprobs or self.top_logprobs > 0 or self.logprob_token_ids is not None


class QuestionError(ValueError):
    """The messages hold no question that this judge understands; `str()` says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenCriterion:
    """One criterion as it stands in the rubric text."""

    theme: str
    tips: tuple[str, ...]
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
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

    @property
    def labels(self) -> Labels:
        """What it may be answered."""
        return PAIR_LABELS


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Does an image meet one criterion?"""

    prompt: str
    criterion: WrittenCriterion
    image: bytes
    """PNG to check."""
    source: bytes | None
    """PNG that was edited."""

    @property
    def labels(self) -> Labels:
        """What it may be answered."""
        return YES_NO_LABELS


Question: TypeAlias = Comparison | Check

_THEME = re.compile(r"^\d+\. (.*)(?: \(weight |（权重 )(\d+(?:\.\d+)?(?:e[+-]?\d+)?)[)）]$")
_TIP = "- "
_FENCE = re.compile(r"^BEGIN ([A-Z]+) ([0-9a-f]{16})\n(.*?)\nEND \1 \2$", re.DOTALL | re.MULTILINE)


def read_question(request: ChatRequest) -> Question:
    """Find prompt, rubric or criterion, and images. Raises `QuestionError`."""
    fenced = fenced_blocks(request.text)
    if "PROMPT" not in fenced:
        raise QuestionError("no fenced prompt was found in the messages")
    images = [decode_png(part.address.url) for part in _image_parts_after_prompt(request)]
    if "CRITERION" in fenced:
        return _check(fenced, images)
    return _comparison(fenced, images)


def _comparison(fenced: dict[str, str], images: list[bytes]) -> Comparison:
    if len(images) not in {2, 3}:
        raise QuestionError(f"two images and at most one source are compared, not {len(images)} images")
    *source, first, second = images
    criteria = _criteria(fenced.get("CRITERIA", ""))
    return Comparison(
        prompt=fenced["PROMPT"], criteria=criteria, first=first, second=second, source=source[0] if source else None
    )


def _check(fenced: dict[str, str], images: list[bytes]) -> Check:
    if len(images) not in {1, 2}:
        raise QuestionError(f"one image and at most one source are checked, not {len(images)} images")
    *source, image = images
    theme, *lines = fenced["CRITERION"].splitlines() or [""]
    criterion = WrittenCriterion(theme=theme, tips=tuple(line.removeprefix(_TIP) for line in lines), weight=1.0)
    return Check(prompt=fenced["PROMPT"], criterion=criterion, image=image, source=source[0] if source else None)


def _texts(message: _Message) -> list[str]:
    return [part for part in _contents(message) if isinstance(part, str)]


def _contents(message: _Message) -> list[str | ImageUrl]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text if isinstance(part, _Part) else part.address for part in message.content]


def _image_parts_after_prompt(request: ChatRequest) -> list[ImagePart]:
    """What is asked about; exemplars of a guide, which this judge learns nothing from, are shown before the prompt."""
    parts = [part for message in request.messages if isinstance(message.content, list) for part in message.content]
    start = next((at for at, part in enumerate(parts) if isinstance(part, _Part) and _has_prompt(part.text)), 0)
    return [part for part in parts[start:] if isinstance(part, ImagePart)]


def _has_prompt(text: str) -> bool:
    return "PROMPT" in fenced_blocks(text)


def fenced_blocks(text: str) -> dict[str, str]:
    """Name → text of the first fence of that name whose code is really made from the text.

    Fences inside fences are part of the text: a prompt cannot bring a rubric of its own.
    """
    found: dict[str, str] = {}
    position = 0
    while match := _FENCE.search(text, position):
        name, code, inside = match.groups()
        if fence_code(inside) == code:
            found.setdefault(name, inside)
            position = match.end()
        else:
            position = match.start() + 1
    return found


def _criteria(text: str) -> tuple[WrittenCriterion, ...]:
    found: list[WrittenCriterion] = []
    for line in text.splitlines():
        if match := _THEME.match(line):
            found.append(WrittenCriterion(theme=match[1], tips=(), weight=float(match[2])))
        elif found and line.startswith(_TIP):
            last = found.pop()
            tips = (*last.tips, line.removeprefix(_TIP))
            found.append(WrittenCriterion(theme=last.theme, tips=tips, weight=last.weight))
    return tuple(found)


def decode_png(url: str) -> bytes:
    """The file inside a data URL, as it is. Raises `QuestionError` for any other URL."""
    head, _, encoded = url.partition(",")
    if head != "data:image/png;base64":
        raise QuestionError("images are taken as data:image/png;base64 URLs only")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise QuestionError("an image is not valid base64") from None
