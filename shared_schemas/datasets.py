"""Labelled data: rows as people write them, rows as the service keeps them, and the datasets they make up.

A row is one prompt with several images and a person's opinion which of them is better. Rows of other tools are taken
too: every field has the names that the reference implementation of the method gives it.

The one rule: a row that is kept says nothing twice. Ranks are 1, 2, 3 … whatever numbers were sent, and images are
named by the digests of their files.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import combinations
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared_schemas.base import Digest, RequestModel, ResponseModel, Text
from shared_schemas.rubrics import Task, json_digest

MAX_ROWS = 100_000
"""Rows of one dataset."""

MAX_CANDIDATES = 64
"""Images of one row; as many as a group of `POST /reward` has."""

PROMPT_NAMES = ("prompt", "query", "instruction", "caption")
IMAGES_NAMES = (
    *("images", "response", "responses", "image_paths", "generated_images", "edited_images", "target_images"),
    *("output_images", "result_images"),
)
SOURCE_NAMES = ("source", "source_image", "base_image", "original_image", "input_image", "reference_image")
RANK_NAMES = ("rank", "label_rank")
SCORE_NAMES = ("score", "label_score")
ID_NAMES = ("id",)

ROW_NAMES = (PROMPT_NAMES, IMAGES_NAMES, SOURCE_NAMES, RANK_NAMES, SCORE_NAMES, ID_NAMES)
"""The names of each field of a row; the first is the one that the service itself uses."""


def _as_list(value: Any) -> Any:
    """One image with one label may be written without brackets; too many are not looked at one by one."""
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        return [value]
    if len(value) > MAX_CANDIDATES:
        raise ValueError(f"has {len(value)} values; at most {MAX_CANDIDATES} are read")
    return value


def _refuse_what_is_no_rank(value: Any) -> Any:
    """`true` least of all: it would say that an image is preferred, while rank 1 comes after rank 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ValueError("ranks are whole numbers, the smallest for the best")
    return value


def _refuse_blank(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError("is blank")
    return prompt


FileName = Annotated[Text, Field(max_length=1000)]
"""How a row names an image: the part's name, or the path in the archive."""

Rank = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(_refuse_what_is_no_rank)]
Score = Annotated[float, Field(strict=True), AfterValidator(lambda score: score + 0.0)]  # −0.0 becomes 0.0


class UploadedRow(RequestModel):
    """One row as it is sent. Each field has several names, of which a row uses one."""

    model_config = ConfigDict(validate_by_name=False)

    prompt: Annotated[Text, AfterValidator(_refuse_blank)] = Field(validation_alias=AliasChoices(*PROMPT_NAMES))
    """What the images show, or the edit that was asked for."""
    images: Annotated[tuple[FileName, ...], BeforeValidator(_as_list)] = Field(
        validation_alias=AliasChoices(*IMAGES_NAMES), min_length=1
    )
    """The candidates, at least two; one alone needs a score."""
    source: FileName | None = Field(default=None, validation_alias=AliasChoices(*SOURCE_NAMES))
    """The picture that was edited."""
    rank: Annotated[tuple[Rank, ...] | None, BeforeValidator(_as_list)] = Field(
        default=None, validation_alias=AliasChoices(*RANK_NAMES)
    )
    """One whole number for each image, the smallest for the best; equal ones are a tie."""
    score: Annotated[tuple[Score, ...] | None, BeforeValidator(_as_list)] = Field(
        default=None, validation_alias=AliasChoices(*SCORE_NAMES)
    )
    """One number for each image, the greatest for the best; instead of `rank`, or in agreement with it."""
    id: Annotated[Text, Field(max_length=256)] | None = Field(default=None, validation_alias=AliasChoices(*ID_NAMES))
    """The row's name where it comes from."""

    @field_validator("rank", "score")
    @classmethod
    def _one_for_each_image(cls, labels: tuple[float, ...] | None, info: ValidationInfo) -> tuple[float, ...] | None:
        images = info.data.get("images")
        if labels is not None and images is not None and len(labels) != len(images):
            raise ValueError(f"has {len(labels)} numbers for {len(images)} images")
        return labels

    @model_validator(mode="after")
    def _has_a_label(self) -> Self:
        if self.rank is None and self.score is None:
            raise ValueError("has neither `rank` nor `score`")
        if len(self.images) == 1 and self.score is None:
            raise ValueError("has one image and no `score`; ranks compare at least two")
        if self.rank is not None and self.score is not None and _places(self.rank) != self._places_by_score():
            raise ValueError("`rank` and `score` do not agree")
        return self

    @property
    def places(self) -> tuple[int, ...]:
        """The rank of each image: 1 + how many are better; images that tie share theirs."""
        return self._places_by_score() if self.rank is None else _places(self.rank)

    def _places_by_score(self) -> tuple[int, ...]:
        return _places([-score for score in self.score or ()])


def _places(values: Sequence[float]) -> tuple[int, ...]:
    """1 + how many values are smaller, for each."""
    return tuple(1 + sum(other < value for other in values) for value in values)


class DatasetRow(ResponseModel):
    """One row as it is kept."""

    id: str | None = None
    """The row's name where it comes from."""
    prompt: str
    """What the images show, or the edit that was asked for."""
    images: tuple[Digest, ...]
    """Digests of the candidates' files, no two the same."""
    rank: tuple[int, ...]
    """The rank of each image: 1 + how many are better; images that tie share theirs."""
    score: tuple[float, ...] | None = None
    """The score of each image, the greatest for the best, where the row came with scores."""
    source: Digest | None = None
    """Digest of the file of the picture that was edited."""

    @property
    def digest(self) -> str:
        """Content address of all that the row says."""
        return json_digest(self.model_dump(exclude_none=True))

    @property
    def num_pairs(self) -> int:
        """How many pairs of candidates the label compares, ties included."""
        return len(self.rank) * (len(self.rank) - 1) // 2

    @property
    def num_ties(self) -> int:
        """How many of these pairs are ties."""
        return sum(first == second for first, second in combinations(self.rank, 2))


class Dataset(ResponseModel):
    """What is known about a dataset without reading its rows."""

    id: int
    """Grows with time."""
    digest: Digest
    """Content address of the rows in any order, images included."""
    task: Task
    """`edit` when the rows have sources, else `t2i`."""
    num_rows: int
    """Prompts with their images."""
    num_pairs: int
    """Pairs of images that the labels compare, ties included: one in a row of two images, three in one of three."""
    num_ties: int
    """How many of these pairs are ties."""
    num_images: int
    """Different image files, sources included."""
    num_bytes: int
    """Their size together."""
    tenant: str
    """Whose key uploaded it; `local` on a service without keys."""
    created: datetime
    """When it was uploaded (UTC)."""


class DatasetPage(ResponseModel):
    """One page of `GET /datasets`, newest first."""

    items: tuple[Dataset, ...]
    """The datasets of this page."""
    next: int | None
    """Pass as `before` to get the next page; null on the last."""


class DatasetRowPage(ResponseModel):
    """One page of `GET /datasets/{id}/pairs`, in the order of the upload."""

    items: tuple[DatasetRow, ...]
    """The rows of this page."""
    next: int | None
    """Pass as `after` to get the next page; null on the last."""
