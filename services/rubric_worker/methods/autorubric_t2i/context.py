"""What every step of the method works with."""

from dataclasses import dataclass
from pathlib import Path

from services.judging.writing import LabelledImages
from services.rubric_worker.methods.autorubric_t2i.preferences import Preference
from services.rubric_worker.methods.embeddings import Embedder
from services.rubric_worker.methods.stages import Stages
from shared_schemas.autorubric import AutoRubricParameters


@dataclass(frozen=True, kw_only=True, slots=True)
class Context(Stages):
    """One run of the method."""

    options: AutoRubricParameters
    embedder: Embedder
    folder: Path
    """For the scores; the caller removes it."""

    @property
    def max_failed_share(self) -> float:
        """See `Stages`."""
        return self.options.max_failed_share

    async def labelled_images(self, preference: Preference) -> LabelledImages:
        """A pair as the model that writes is shown it, label included."""
        pair = preference.pair
        return LabelledImages(
            prompt=pair.prompt,
            images=(await self.pictures.get(pair.first), await self.pictures.get(pair.second)),
            source=None if pair.source is None else await self.pictures.get(pair.source),
            places=(1, 2) if preference.sign == 1 else (2, 1),
            scores=None,
        )
