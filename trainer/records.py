"""What a run writes down: one record per training step, one per evaluation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, Self

from shared_schemas.reward import GroupResult, Status


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictSummary:
    """The verdicts behind a set of groups; each mean is over the pairs that have the number, null when none has."""

    num_groups: int
    scored: int
    tied: int
    failed: int
    mean_abs_margin: float | None
    """Nats."""
    mean_position_bias: float | None
    """Nats; positive = the judge favours what it sees first."""
    consistent_fraction: float | None
    """Pairs whose two orders name the same winner."""
    mean_score: float | None
    """Of all candidates, Σ weight × p(yes); null unless each was scored alone."""

    @classmethod
    def of(cls, results: Sequence[GroupResult]) -> Self:
        """Summarise the answers of the reward service."""
        pairs = [pair for result in results for pair in result.pairs]
        return cls(
            num_groups=len(results),
            scored=sum(result.status is Status.SCORED for result in results),
            tied=sum(result.status is Status.TIED for result in results),
            failed=sum(result.status is Status.FAILED for result in results),
            mean_abs_margin=mean_of_known(None if pair.margin is None else abs(pair.margin) for pair in pairs),
            mean_position_bias=mean_of_known(pair.position_bias for pair in pairs),
            consistent_fraction=mean_of_known(pair.consistent for pair in pairs),
            mean_score=mean_of_known(score for result in results for score in result.scores or ()),
        )


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there; none when none is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateRecord:
    """One optimizer step."""

    loss: float
    grad_norm: float
    """Before clipping."""
    clipped_fraction: float
    """Share of counted ratios outside 1 ± clip_range."""
    max_ratio_error: float
    """max |ratio − 1|; 0 as long as a rollout is trained on once."""
    kl: float | None
    """Mean KL per denoising step, reduced as `loss.reduction` says; null when it has no weight."""
    num_flat: int
    """Scored groups that left the loss because their rewards are equal."""
    skipped: bool
    """True when no group counted: there is nothing to learn from, and the optimizer did not step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseSeconds:
    """Where the time of a step went."""

    sample: float
    """Sampling and decoding."""
    judge_wait: float
    """Standing still for rewards; the rest of the judging overlapped with sampling."""
    update: float
    """Forward, backward, optimizer."""

    @property
    def total(self) -> float:
        """Their sum."""
        return self.sample + self.judge_wait + self.update


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One training step."""

    step: int
    learning_rate: float
    verdicts: VerdictSummary
    update: UpdateRecord
    seconds: PhaseSeconds
    judge_wait_fraction: float
    judge_calls: int
    kind: Literal["step"] = "step"


@dataclass(frozen=True, kw_only=True, slots=True)
class WinRate:
    """Tuned against base on the same prompt and noise; a tie counts half for each."""

    wins: int
    ties: int
    losses: int
    win_rate: float
    low: float
    """Lower end of the 95 % Wilson interval."""
    high: float
    """Upper end of it."""
    mean_margin: float | None
    """Nats; positive = tuned is preferred. Null when the judge gives no margins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutJudge:
    """What a judge that nobody trains on, or by other rubrics, says of the same pairs."""

    rubric_digest: str
    judge_fingerprint: str
    overall: WinRate | None
    """Null when it judged none of them."""
    failed: int
    """Pairs that it did not judge; left out of the rate."""
    problem: str | None
    """Why it gave no answer at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversity:
    """How different the images of one prompt are: mean 1 − SSIM over pairs, from 0 (all the same) to about 1."""

    base: float
    tuned: float
    relative: float | None
    """tuned / base; null when the base draws one image per prompt."""
    lowest: float
    """Of the tuned model, on the prompt where it is least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRecord:
    """One evaluation, after `step` optimizer steps."""

    step: int
    overall: WinRate
    held_out: WinRate | None
    """On prompts that are not trained on; null when there are none, or none was judged."""
    failed: int
    """Pairs that were not judged; left out of the rates."""
    held_out_judge: HeldOutJudge | None
    """Null when there is none."""
    diversity: Diversity | None
    """Null with one image per prompt."""
    is_average: bool
    """Whether the averaged adapter was evaluated (`ema.decay`), not the last one."""
    seconds: float
    kind: Literal["evaluation"] = "evaluation"


@dataclass(frozen=True, kw_only=True, slots=True)
class AlarmRecord:
    """The training judge sees progress that the held-out judge does not; see `trainer.evaluation.alarm`."""

    step: int
    since_step: int
    """The evaluation that the held-out judge liked best."""
    training_change: float
    """Of the training judge's win rate since then, over the pairs that both judged both times."""
    held_out_change: float
    """Of the held-out judge's."""
    p_value: float
    """Of the wider gap, one-sided."""
    kind: Literal["alarm"] = "alarm"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeRecord:
    """A run went on, as it was told to, although it is rewarded differently from `step` on."""

    step: int
    what: Literal["rubric", "judge"]
    before: str
    """Digest or fingerprint."""
    after: str
    kind: Literal["change"] = "change"


Record = StepRecord | EvaluationRecord | AlarmRecord | ChangeRecord
