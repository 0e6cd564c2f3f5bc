"""What is asked in a measurement: pairs of pictures that were never asked about before, and the rubric set.

Owns the supply of questions. The one rule: every pair has a prompt of its own, so that no cache answers for the judge,
and its pictures are the same few, so that every way of asking shows the judge the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, cycle

from benchmarks.pictures import stamped
from reward_client import CandidateGroup
from services.judging.images import JudgeImage, read_png
from services.judging.prompts import JudgePrompt, pair_prompt
from shared_schemas.rubrics import Criterion, RubricContent, Task

RUBRIC = RubricContent(
    task=Task.T2I,
    criteria=(
        Criterion(id="exposure", theme="Exposure", tips=("The picture is bright and well-lit.",)),
        Criterion(id="vividness", theme="Vividness", tips=("The picture is vivid and saturated.",)),
    ),
)
"""Two criteria that the pixel judge measures at next to no cost: the judge is to be limited by its capacity alone."""

_PROMPT = "a harbour at dawn, fishing boats, low clouds over the hills"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One question."""

    prompt: str
    first: JudgeImage
    second: JudgeImage

    def in_order(self, *, swapped: bool = False) -> JudgePrompt:
        """What the judge is shown."""
        images = (self.second, self.first) if swapped else (self.first, self.second)
        return pair_prompt(self.prompt, *images, source=None, rubric=RUBRIC)

    def as_group(self) -> CandidateGroup:
        """What a client sends: files that nobody has sent before."""
        return CandidateGroup(self.prompt, [stamped(image.png, self.prompt) for image in (self.first, self.second)])


class Supply:
    """Endless new pairs of the same pictures."""

    def __init__(self, pngs: Sequence[bytes]) -> None:
        self._pairs = cycle(combinations([read_png(png) for png in pngs], 2))
        self.num_drawn = 0

    def pair(self) -> Pair:
        """The next one."""
        first, second = next(self._pairs)
        self.num_drawn += 1
        return Pair(prompt=f"{_PROMPT} (no. {self.num_drawn})", first=first, second=second)

    def pairs(self, num_pairs: int) -> list[Pair]:
        """The next few."""
        return [self.pair() for _ in range(num_pairs)]
