"""What every step of the method works with."""

from dataclasses import dataclass

from services.judging.writing import LabelledImages
from services.rubric_worker.methods.stages import Stages
from shared_schemas.datasets import DatasetRow
from shared_schemas.learning import ArrParameters


@dataclass(frozen=True, kw_only=True, slots=True)
class Context(Stages):
    """One run of the method."""

    options: ArrParameters

    @property
    def max_failed_share(self) -> float:
        """See `Stages`."""
        return self.options.max_failed_share

    async def labelled_images(self, row: DatasetRow) -> LabelledImages:
        """A row as the model that writes is shown it, label included."""
        return LabelledImages(
            prompt=row.prompt,
            images=tuple([await self.pictures.get(image) for image in row.images]),
            source=None if row.source is None else await self.pictures.get(row.source),
            places=row.rank,
            scores=row.score,
        )
