"""The kinds of jobs that there are, each built from the services it works with. Imported by commands that do jobs."""

from services.reward_api.state import Services
from services.rubric_worker.job_kinds import JobKinds


def built_in(_services: Services) -> JobKinds:
    """Kinds by the name that jobs call them."""
    return {}
