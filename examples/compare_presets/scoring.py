"""The pixel judge without a service around it: the same numbers, at a tenth of the cost.

Owns nothing of how a verdict comes about: scores, verdicts and rewards are the service's own functions; what is left
out is HTTP, and a prompt that is written only to be read back.

Shape suffixes: P groups, G candidates, H and W pixels.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reward_client.images import to_png
from services.judging.groups import Comparison, comparative_rewards, standing_of_pairs
from services.judging.pixel_judge import PixelJudgeSettings
from services.judging.pixel_judge.gallery import Gallery
from services.judging.pixel_judge.opinion import preference
from services.judging.pixel_judge.parsing import Comparison as Question
from services.judging.pixel_judge.parsing import WrittenCriterion
from services.judging.verdicts import Verdict, combine_orders, single_order
from shared_schemas.reward import RewardScheme, Scheme
from shared_schemas.rubrics import RubricContent
from trainer.config import RewardConfig

_TIE_MARGIN = 0.05
"""Nats; the service's default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What the judge made of one group."""

    rewards_G: Tensor
    """NaN where the group is tied."""
    margins: tuple[float, ...]
    """Of its pairs, nats, as judged."""
    sound_margins: tuple[float, ...]
    """The same without noise and bias."""

    @property
    def is_tied(self) -> bool:
        """Whether it has no rewards."""
        return bool(self.rewards_G.isnan().any())


class Scorer:
    """A pixel judge that scores groups by a rubric set."""

    def __init__(self, rubric: RubricContent, settings: PixelJudgeSettings) -> None:
        self._criteria = tuple(
            WrittenCriterion(theme=criterion.theme, tips=criterion.tips, weight=criterion.weight)
            for criterion in rubric.criteria
        )
        self._settings = settings
        self._gallery = Gallery()

    def score(
        self,
        prompt: str,
        images_G3HW: Sequence[Tensor],
        *,
        reward: RewardConfig,
        one_order: bool,
        source: torch.Generator,
    ) -> Scored:
        """Judge all pairs of a group; `source` is where the judge's noise comes from."""
        pngs = [to_png(image) for image in images_G3HW]
        pairs = list(itertools.combinations(range(len(pngs)), 2))
        margins = [self._margin(prompt, pngs[first], pngs[second]) for first, second in pairs]
        verdicts = [self._verdict(margin, one_order=one_order, source=source) for margin in margins]
        comparisons = [
            Comparison(first=first, second=second, verdict=verdict)
            for (first, second), verdict in zip(pairs, verdicts, strict=True)
        ]
        tie_margin = _TIE_MARGIN if reward.tie_margin is None else reward.tie_margin
        standing = standing_of_pairs(len(pngs), comparisons, tie_margin=tie_margin)
        assert standing is not None  # all pairs are judged, and these connect everybody
        tied = (float("nan"),) * len(pngs)
        return Scored(
            rewards_G=torch.tensor(tied if standing.is_tied else comparative_rewards(standing, _scheme(reward))),
            margins=tuple(verdict.margin or 0.0 for verdict in verdicts),
            sound_margins=tuple(margins),
        )

    def _margin(self, prompt: str, first: bytes, second: bytes) -> float:
        """Nats in favour of the first, by a judge without noise or bias."""
        question = Question(prompt=prompt, criteria=self._criteria, first=first, second=second, source=None)
        return self._settings.scale * preference(question, self._gallery)

    def _verdict(self, margin: float, *, one_order: bool, source: torch.Generator) -> Verdict:
        settings = self._settings
        noise_xy, noise_yx = (torch.randn(2, generator=source, dtype=torch.float64) * settings.noise).tolist()
        l_xy, l_yx = margin + settings.position_bias + noise_xy, -margin + settings.position_bias + noise_yx
        if not one_order:
            return combine_orders(l_xy, l_yx, settings.label_mass)
        first_shown_first = bool(torch.rand((), generator=source) < 0.5)
        return single_order(
            l_xy if first_shown_first else l_yx, settings.label_mass, first_shown_first=first_shown_first
        )


def _scheme(reward: RewardConfig) -> RewardScheme:
    scheme = reward.scheme or Scheme.BINARY
    return RewardScheme(scheme=scheme, preferred=reward.preferred, dispreferred=reward.dispreferred)
