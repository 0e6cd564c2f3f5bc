"""What jobs work with: handed to every kind when it is built, by whoever composes the process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.judging.chat import Chat
from services.judging.judge import Judge
from services.rubric_worker.methods.embedding_server import EmbeddingServer
from services.rubric_worker.pictures import Pictures
from services.storage.datasets import DatasetRepository
from services.storage.rubrics import RubricRepository


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """The judge, the model that writes, and what is stored."""

    judge_of: Callable[[], Judge | None]
    """The judge; None while it cannot be reached."""
    chat_of: Callable[[], Chat | None]
    """The model that writes criteria; None while it cannot be reached."""
    datasets: DatasetRepository
    rubrics: RubricRepository
    pictures: Pictures
    tie_margin: float
    """Nats below which a margin is a tie where no calibration says otherwise."""
    embeddings: EmbeddingServer | None = None
    """Makes vectors of statements, for learning jobs that ask for it."""
    scratch: Path | None = None
    """Folder for temporary files of jobs; None = the system's."""
    cache_scope: str | None = None
    """Where the judge's answers are remembered; None = with those of the job's tenant."""
