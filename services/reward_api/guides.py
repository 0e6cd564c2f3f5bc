"""The guides of rubric sets with the images that their exemplars name, as a dataset brought them.

Owns finding and keeping them: every rank of a training run asks for the same few, step after step. The one rule: a
rubric set is judged with all of its exemplars or not at all.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from services.judging.dataset_images import InvalidImageError, load_judge_image
from services.judging.images import JudgeImage
from services.judging.questions import ShownExample
from services.judging.recent import Recent
from services.reward_api.admission import ResolvedRubric, wrong_field
from services.reward_api.errors import InvalidImage, Unavailable, UnknownImage
from services.storage.datasets import DatasetRepository
from shared_schemas.rubrics import RubricContent

_WHERE = "rubric"
"""Field of a request's `meta` that names the rubric set, or holds it."""

_ROOM_BYTES = 256 << 20
"""Three guides of twelve images of a megapixel, or a hundred of twelve images of 128×128."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Guide:
    """All exemplars of one rubric set."""

    examples: tuple[ShownExample, ...]
    num_bytes: int


class Guides:
    """Loads guides, each once while it is remembered."""

    def __init__(self, datasets: DatasetRepository, *, judge_max_pixels: int) -> None:
        """Images with more than `judge_max_pixels` pixels are scaled down, as those of requests are."""
        self._datasets = datasets
        self._judge_max_pixels = judge_max_pixels
        self._recent: Recent[str, _Guide] = Recent(room_bytes=_ROOM_BYTES)
        self._turn = asyncio.Lock()

    async def of(self, rubric: ResolvedRubric) -> tuple[ShownExample, ...]:
        """The exemplars of a rubric set, in its order.

        Raises `UnknownImage` where no dataset brought an image, `InvalidImage` where the file cannot be read any more,
        and `Unavailable` while the blob store cannot be reached.
        """
        if not rubric.content.guide:
            return ()
        async with self._turn:  # ranks begin together: one loads what all of them need
            guide = self._recent.kept(rubric.identity.digest)
            if guide is None:
                guide = await self._load(rubric)
        return guide.examples

    async def _load(self, rubric: ResolvedRubric) -> _Guide:
        named = images_of_guide(rubric.content, where=_WHERE)
        files = {digest: await self._file(digest, where) for where, digest in named.items()}
        read = partial(self._read, rubric.content, files)
        return await asyncio.to_thread(self._recent.get, rubric.identity.digest, read)

    async def _file(self, digest: str, where: str) -> bytes:
        try:
            return await self._datasets.image(digest)
        except FileNotFoundError as error:
            raise wrong_field(where, f"no dataset has brought the image {digest}", kind=UnknownImage) from error
        except OSError as error:
            raise Unavailable("the images of the rubric set's guide cannot be read") from error

    def _read(self, rubric: RubricContent, files: Mapping[str, bytes]) -> _Guide:
        images: dict[str, JudgeImage] = {}
        for where, digest in images_of_guide(rubric, where=_WHERE).items():
            try:
                images[digest] = load_judge_image(files[digest], judge_max_pixels=self._judge_max_pixels)
            except InvalidImageError as error:
                raise wrong_field(where, f"the image {digest} cannot be judged: {error}", kind=InvalidImage) from error
        examples = tuple(
            ShownExample(
                prompt=exemplar.prompt,
                source=None if exemplar.source is None else images[exemplar.source],
                preferred=images[exemplar.preferred],
                dispreferred=images[exemplar.dispreferred],
                rationale=exemplar.rationale,
            )
            for exemplar in rubric.guide
        )
        return _Guide(examples=examples, num_bytes=sum(image.num_bytes for image in images.values()))


def images_of_guide(rubric: RubricContent, *, where: str) -> dict[str, str]:
    """Path of each field that names an image, `where` the content stands → the digest of the image's file."""
    named = {}
    for index, exemplar in enumerate(rubric.guide):
        for role, digest in (
            ("source", exemplar.source),
            ("preferred", exemplar.preferred),
            ("dispreferred", exemplar.dispreferred),
        ):
            if digest is not None:
                named[f"{where}.guide.{index}.{role}"] = digest
    return named
