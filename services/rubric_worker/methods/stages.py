"""What every step of a method works with: the job's desk, its pictures, its seeds, and its progress.

Owns the way through a stage: every item is counted, one that fails is noted and left out, and too many failures end
the job. The one rule: what comes of a stage stands in the order of its items, whichever was done first.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from services.judging.chat_messages import ChatMessage
from services.judging.questions import JudgeFailure
from services.judging.writing import Assignment
from services.rubric_worker.desk import Desk
from services.rubric_worker.failure_budget import FailureBudget
from services.rubric_worker.methods.opinions import Opinions
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.running_job import RunningJob
from services.rubric_worker.together import each

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
SchemaT = TypeVar("SchemaT", bound=BaseModel)

AT_ONCE = 32
"""Items of a stage under way together: their images are in memory."""

_LEAST_TOKENS = 2048
_TOKENS_PER_STATEMENT = 160
"""Room for an answer: a statement of 300 characters, its theme, and the JSON around them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages(ABC):
    """One run of a method."""

    job: RunningJob
    desk: Desk
    pictures: Pictures
    opinions: Opinions
    about: Assignment

    @property
    @abstractmethod
    def max_failed_share(self) -> float:
        """Share of failed items of a stage at which the job gives up."""

    def budget(self, num_items: int, what: str) -> FailureBudget:
        """For a stage of so many items."""
        return FailureBudget(num_items, max_share=self.max_failed_share, what=what)

    async def stage(
        self,
        name: str,
        items: Sequence[ItemT],
        do: Callable[[ItemT], Awaitable[ResultT | JudgeFailure]],
        *,
        budget: FailureBudget | None = None,
    ) -> list[ResultT | None]:
        """What `do` makes of each item; None for one that failed.

        Raises `JobFailedError` when a server stays away, or the budget for failures (of this stage alone, unless one is
        given) is spent.
        """
        budget = budget or self.budget(len(items), "items")
        self.job.stage(name, len(items))

        async def one(item: ItemT) -> ResultT | None:
            result = await do(item)
            self.job.advance()
            if not isinstance(result, JudgeFailure):
                return result
            about = {"job": self.job.id, "stage": name, "failure": result.type.value, "detail": result.detail}
            _log.warning("an item of a job failed", extra=about)
            budget.note(result)
            return None

        return await each(items, one, at_once=AT_ONCE)

    async def write(
        self, messages: Sequence[ChatMessage], *, schema: type[SchemaT], stage: str, item: str, num_parts: int = 1
    ) -> SchemaT | JudgeFailure:
        """Have something written, with a seed of its own and room for so many statements."""
        seed = self.job.call_seed(stage, item)
        max_tokens = max(_LEAST_TOKENS, num_parts * _TOKENS_PER_STATEMENT)
        written = await self.desk.write(messages, schema=schema, seed=seed, max_tokens=max_tokens)
        return written if isinstance(written, JudgeFailure) else written.value
