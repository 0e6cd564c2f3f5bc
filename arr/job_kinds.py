"""The kinds of jobs that there are, each built from the services it works with. Imported by commands that do jobs."""

from pathlib import Path

from services.reward_api.reward import SHARED_SCOPE
from services.reward_api.settings import Settings
from services.reward_api.state import Services
from services.rubric_worker.evaluation.evaluate_job import EvaluateJob
from services.rubric_worker.job_kinds import JobKinds
from services.rubric_worker.learn_job import LearnJob
from services.rubric_worker.methods.embedding_server import EmbeddingServer
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.tools import Tools
from shared_schemas.jobs import EVALUATE, LEARN


def built_in(services: Services) -> JobKinds:
    """Kinds by the name that jobs call them."""
    settings = services.settings
    tools = Tools(
        judge_of=services.judge.if_there,
        chat_of=services.chat.get,
        datasets=services.datasets,
        rubrics=services.rubrics,
        pictures=Pictures(services.datasets, judge_max_pixels=settings.judge_max_pixels),
        tie_margin=settings.tie_margin,
        embeddings=_embedding_server(settings),
        scratch=_made(settings.data_dir / "scratch"),
        cache_scope=SHARED_SCOPE if settings.share_verdicts else None,
    )
    return {LEARN: LearnJob(tools), EVALUATE: EvaluateJob(tools)}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _embedding_server(settings: Settings) -> EmbeddingServer | None:
    if settings.embeddings_address is None or settings.embeddings_model is None:
        return None
    url, key = settings.embeddings_address
    return EmbeddingServer(
        url=url, model=settings.embeddings_model, api_key=None if key is None else key.get_secret_value()
    )
