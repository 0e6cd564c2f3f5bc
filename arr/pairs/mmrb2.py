"""Multimodal RewardBench 2, the tasks t2i and edit: Parquet, or the JSON that its own build script writes.

The image that goes with the prompt is the source. Text beside a response's image is left out: what is judged is the
image. Interleaved and reasoning rows mostly have no single image per response, and are refused for it.
"""

import re

from pydantic import AliasChoices, Field

from arr.pairs.layout import Format, Picture, Record, RecordModel, keys_of, one_row_each, parse
from arr.pairs.records import BadRecord
from arr.pairs.rows import LabelledRow, PictureRef, Reason, RowError

_PLACEHOLDER = re.compile(r"\s*<image_\d+>\s*")


class _FlatPair(RecordModel):
    """A row of the Parquet files."""

    pair_id: str | None = None
    prompt_text: str
    prompt_images: tuple[Picture, ...] | None = None
    response_a_images: tuple[Picture, ...] | None = None
    response_b_images: tuple[Picture, ...] | None = None
    chosen: str


class _Response(RecordModel):
    response_content: tuple[tuple[str, str], ...]


class _NestedPair(RecordModel):
    """An element of `{"pairs": […]}`; content is a list of `["text" | "image", text | path]`."""

    pair_id: str | None = Field(default=None, validation_alias=AliasChoices("pair_id", "id"))
    prompt_content: tuple[tuple[str, str], ...]
    response_a: _Response
    response_b: _Response
    chosen: str

    def flat(self) -> _FlatPair:
        return _FlatPair(
            pair_id=self.pair_id,
            prompt_text=" ".join(text for kind, text in self.prompt_content if kind == "text"),
            prompt_images=_images(self.prompt_content),
            response_a_images=_images(self.response_a.response_content),
            response_b_images=_images(self.response_b.response_content),
            chosen=self.chosen,
        )


def _images(content: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(path for kind, path in content if kind == "image")


def _read(record: Record, _seed: int) -> LabelledRow:
    is_flat = isinstance(record.values, BadRecord) or "prompt_text" in record.values
    pair = parse(record, _FlatPair) if is_flat else parse(record, _NestedPair).flat()
    prompt = _PLACEHOLDER.sub(" ", pair.prompt_text).strip()
    if not prompt:
        raise RowError(Reason.MALFORMED, "the prompt has no text")
    chosen = pair.chosen.strip().upper()
    if chosen not in ("A", "B"):
        raise RowError(Reason.NO_LABEL, f"chosen is {pair.chosen!r}, neither A nor B")
    return LabelledRow(
        place=record.place,
        prompt=prompt,
        images=(_only_image(pair.response_a_images, "a"), _only_image(pair.response_b_images, "b")),
        rank=(1, 2) if chosen == "A" else (2, 1),
        source=_source(pair.prompt_images),
        id=pair.pair_id,
    )


def _only_image(images: tuple[PictureRef, ...] | None, response: str) -> PictureRef:
    if images is None or len(images) != 1:
        raise RowError(Reason.NOT_ONE_IMAGE, f"response {response} has {len(images or ())} images")
    return images[0]


def _source(images: tuple[PictureRef, ...] | None) -> PictureRef | None:
    if images and len(images) > 1:
        raise RowError(Reason.SEVERAL_SOURCES, f"the prompt comes with {len(images)} images")
    return images[0] if images else None


MMRB2 = Format(
    name="mmrb2",
    summary="Multimodal RewardBench 2, t2i and edit: Parquet, or t2i.json, edit.json with a list of pairs",
    files=re.compile(r"(?:^|/)(?P<split>t2i|edit|interleaved|reasoning)(?:\.json|/[^/]+\.parquet)$"),
    keys=keys_of(_FlatPair, _NestedPair),
    tell_tale=(
        frozenset({"prompt_text", "response_a_images", "response_b_images", "chosen"}),
        frozenset({"response_a", "response_b", "chosen"}),
    ),
    rows=one_row_each(_read),
)
