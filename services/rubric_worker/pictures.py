"""The images of a dataset as the judge gets them: read from the blob store, decoded once, kept while there is room."""

import asyncio

from services.judging.dataset_images import load_judge_image
from services.judging.images import JudgeImage
from services.judging.questions import PairQuestion, ShownExample
from services.judging.recent import Recent
from services.rubric_worker.labelled_pairs import ImagePair
from services.storage.datasets import DatasetRepository
from shared_schemas.rubrics import Exemplar, RubricContent


class Pictures:
    """Images by the digests of their files."""

    def __init__(
        self, datasets: DatasetRepository, *, judge_max_pixels: int | None = None, room_bytes: int = 512 << 20
    ) -> None:
        """Images with more than `judge_max_pixels` pixels are scaled down; `room_bytes` of them are kept in memory."""
        self._datasets = datasets
        self._judge_max_pixels = judge_max_pixels
        self._kept: Recent[str, JudgeImage] = Recent(room_bytes=room_bytes)

    async def get(self, digest: str) -> JudgeImage:
        """One image. Raises `OSError` when the blob store cannot give it."""
        if (image := self._kept.kept(digest)) is not None:
            return image
        data = await self._datasets.image(digest)
        return await asyncio.to_thread(self._kept.get, digest, lambda: self._load(data))

    async def question(self, pair: ImagePair, rubric: RubricContent) -> PairQuestion:
        """Which of the pair's images is better, by this rubric?"""
        return PairQuestion(
            prompt=pair.prompt,
            first=await self.get(pair.first),
            second=await self.get(pair.second),
            source=None if pair.source is None else await self.get(pair.source),
            rubric=rubric,
            guide=tuple([await self.example(exemplar) for exemplar in rubric.guide]),
        )

    async def example(self, exemplar: Exemplar) -> ShownExample:
        """An exemplar with its images."""
        return ShownExample(
            prompt=exemplar.prompt,
            source=None if exemplar.source is None else await self.get(exemplar.source),
            preferred=await self.get(exemplar.preferred),
            dispreferred=await self.get(exemplar.dispreferred),
            rationale=exemplar.rationale,
        )

    def _load(self, data: bytes) -> JudgeImage:
        return load_judge_image(data, judge_max_pixels=self._judge_max_pixels)
