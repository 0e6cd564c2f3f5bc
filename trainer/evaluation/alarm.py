"""The alarm: the training judge sees progress that the held-out judge does not.

Both judges answer about the same pairs at every evaluation. The reference is the evaluation that the held-out judge
liked best so far (the first of equals). Since then, for every prompt, the training judge's win rate rose by `rise` and
the held-out judge's fell by `fall`. The judges *part* when, meant over the prompts, neither `rise` nor `fall` is
negative and `rise + fall` is larger than chance makes it: a sign-flip test over prompts, one-sided, at `LEVEL`. The
alarm rings when they part at two evaluations in a row, because one in many is bound to look bad.

It rings for a judge that stands still as for one that falls: a win rate that only the training judge sees rising is not
progress. Both rising is; so is a pause of both.

How often it rings by chance, for judges that flip coins: tests/trainer/evaluation/test_alarm.py.

Shape suffixes: R prompts, C noises, S sign patterns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.win_rates import wilson_interval
from trainer.records import AlarmRecord

LEVEL = 0.005
"""Of one test. No fewer than 8 prompts can reach it: among 2⁸ sign patterns the most extreme one has 0.004."""

_NUM_PATTERNS = 4096
"""Sign patterns drawn where there are more; p-values are then known to about ± 0.001 at the level."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinions:
    """What both judges said about the same pairs at one evaluation."""

    step: int
    training_RC: Floats
    """1 = the tuned image won, 0 = the base's, ½ = tie, NaN = not judged."""
    held_out_RC: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """From the held-out judge's best evaluation to a later one; a prompt counts where both judged it both times."""

    since: int
    step: int
    rise_R: Floats
    """Of the training judge's win rate, prompt by prompt."""
    fall_R: Floats
    """Of the held-out judge's."""

    def chance(self) -> float:
        """How likely chance alone makes a gap this wide, given that neither judge went the other way; else 1."""
        if not self.rise_R.size or self.rise_R.mean() < 0 or self.fall_R.mean() < 0:
            return 1.0
        return sign_flip_p_value(self.rise_R + self.fall_R)


def alarm(history: Sequence[Opinions]) -> AlarmRecord | None:
    """The alarm after the last of these evaluations, oldest first; None while it is silent.

    An evaluation at which the held-out judge failed on every pair is none.
    """
    history = _judged(history)
    if len(history) < 3:
        return None
    before, now = change_since_best(history[:-1]), change_since_best(history)
    if max(before.chance(), now.chance()) > LEVEL:
        return None
    return AlarmRecord(
        step=now.step,
        since_step=now.since,
        training_change=float(now.rise_R.mean()),
        held_out_change=-float(now.fall_R.mean()),
        p_value=now.chance(),
    )


def change_since_best(history: Sequence[Opinions]) -> Change:
    """From the evaluation that the held-out judge liked best to the last one, which is never the best itself."""
    *earlier, now = history
    best = max(earlier, key=_win_rate)
    rise_RC = now.training_RC - best.training_RC
    fall_RC = best.held_out_RC - now.held_out_RC
    both_RC = np.isfinite(rise_RC) & np.isfinite(fall_RC)
    rows = both_RC.any(axis=1)
    return Change(
        since=best.step,
        step=now.step,
        rise_R=_row_means(rise_RC, both_RC)[rows],
        fall_R=_row_means(fall_RC, both_RC)[rows],
    )


def liked_best(history: Sequence[Opinions]) -> int | None:
    """The step that the held-out judge liked best, the first of equals; None while it likes none above the base.

    Compared are the lower ends of its win rates: one that it told from a few pairs does not win by their luck.
    """
    best = max(_judged(history), key=_lower_end, default=None)
    return best.step if best is not None and _win_rate(best) > 0.5 else None


def sign_flip_p_value(values_R: Floats) -> float:
    """One-sided p-value of "the mean is not above 0", for values that are as likely x as −x when it is not.

    Exact up to 12 values, then by 4096 random sign patterns with a fixed seed, the observed one among them.
    """
    count = len(values_R)
    if 2**count <= _NUM_PATTERNS:
        bits_SR = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float(_reaches(bits_SR, values_R).mean())
    bits_SR = np.random.default_rng(0).integers(2, size=(_NUM_PATTERNS - 1, count))
    return float((1 + _reaches(bits_SR, values_R).sum()) / _NUM_PATTERNS)


def _judged(history: Sequence[Opinions]) -> list[Opinions]:
    """Those at which the held-out judge judged any pair."""
    return [opinions for opinions in history if np.isfinite(opinions.held_out_RC).any()]


def _win_rate(opinions: Opinions) -> float:
    """The held-out judge's, over the pairs that it judged."""
    return float(np.nanmean(opinions.held_out_RC))


def _lower_end(opinions: Opinions) -> float:
    """Of the 95 % interval of that rate."""
    low, _ = wilson_interval(_win_rate(opinions), int(np.isfinite(opinions.held_out_RC).sum()))
    return low


def _reaches(bits_SR: NDArray[np.int64], values_R: Floats) -> NDArray[np.bool_]:
    """Whether the sum is at least the observed one when the values with a bit set change their sign."""
    rounding = 1e-9  # equal sums of other order must count as equal
    reached: NDArray[np.bool_] = (1 - 2 * bits_SR) @ values_R >= values_R.sum() - rounding
    return reached


def _row_means(values_RC: Floats, counted_RC: NDArray[np.bool_]) -> Floats:
    counts = np.maximum(counted_RC.sum(axis=1), 1)
    means: Floats = np.where(counted_RC, values_RC, 0.0).sum(axis=1) / counts
    return means
