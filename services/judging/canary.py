"""The canary: known pairs, judged again and again, to notice a judge that drifts behind the same name.

Owns the schedule, the comparison and the alarm. Refuses to act on it: a drifted judge goes on judging, and somebody
looks into it. A judge that says it is another one (model, revision, version) needs no canary; its answers are compared
with the first ones of its own.

The one rule: the baseline is the first answer ever remembered under a judge's fingerprint, whichever process asked.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn

from services.judging.answers import Answer, LabelAnswer
from services.judging.callers import CallClass, Caller
from services.judging.drawings import drawn_pairs
from services.judging.judge import Judge, JudgeNotStartedError
from services.judging.questions import JudgeFailure

DRIFT_ALARM = 0.5
"""Nats. vLLM answers one question differently with every batch that it shares, in bf16 by 0.01 to 0.2 nats; half a nat
takes a probability from 0.50 to 0.62, and no rounding does that."""

_NUM_PAIRS = 3
"""Another thing altogether, noise, another shape: one large difference, one of quality, one in between."""

_CALLER = Caller(tenant="arr", run="canary", call_class=CallClass.REWARD, cache_scope="canary")
"""As urgent as rewards: a judge that is always busy would never get to a lower class, and half a dozen calls are
nothing to it."""

_ROUND_WITHIN = timedelta(seconds=60)

_UNTIL_STARTED = timedelta(seconds=1)
"""Between two looks for a judge that has not been reached yet, which cost nothing."""

_log = logging.getLogger(__name__)


class Canary:
    """Watches one judge."""

    def __init__(self, judge: Judge, *, every: timedelta, on_drift: Callable[[float], None]) -> None:
        """`on_drift` is called after each round with the largest change of an answer, nats.

        A judge without log-probabilities only chooses; a choice that flips is an infinite change.
        """
        self._judge = judge
        self._every = every
        self._on_drift = on_drift
        self._questions = drawn_pairs(_NUM_PAIRS)
        self._baseline: dict[str, Answer] = {}
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong, on one line for `/readyz`; None while the last round was fine."""
        return self._problem

    async def run(self) -> NoReturn:
        """Look at the judge at once, or as soon as it has been reached, and then on schedule until cancelled."""
        while True:
            wait = self._every
            try:
                await self.look()
            except JudgeNotStartedError:
                wait = min(wait, _UNTIL_STARTED)
            except Exception:  # noqa: BLE001 - a cache that is away, say; the watch outlives it
                _log.exception("the canary cannot be compared")
            await asyncio.sleep(wait.total_seconds())

    async def look(self) -> None:
        """One round: ask, compare with the baseline, set or lift the alarm.

        A round in which a question fails says nothing, and leaves everything as it was. Raises `JudgeNotStartedError`,
        and what the cache raises.
        """
        now = await self._ask(use_cache=False)
        if now is None:
            return
        if now.keys() != self._baseline.keys():  # the first round, or another judge: keys contain its fingerprint
            self._baseline = await self._ask(use_cache=True) or {}
        if now.keys() != self._baseline.keys():
            return
        drift = max(_change(self._baseline[key], answer) for key, answer in now.items())
        self._on_drift(drift)
        self._set_alarm(drift)

    async def _ask(self, *, use_cache: bool) -> dict[str, Answer] | None:
        """The answers by judgement key; None when one is missing."""
        results = await self._judge.compare(
            self._questions, deadline=_ROUND_WITHIN, use_cache=use_cache, caller=_CALLER
        )
        for result in results:
            if isinstance(result, JudgeFailure):
                _log.info("the canary was not judged", extra={"type": result.type, "detail": result.detail})
                return None
        return {asked.key: asked.answer for result in results for asked in result.asked}

    def _set_alarm(self, drift: float) -> None:
        was_fine, self._problem = self._problem is None, _problem(drift)
        if was_fine and self._problem is not None:
            _log.warning("the judge drifts", extra={"nats": drift, "fingerprint": self._judge.identity.fingerprint})
        elif not was_fine and self._problem is None:
            _log.info("the judge drifts no more", extra={"nats": drift})


def _change(before: Answer, now: Answer) -> float:
    """Nats between two answers to one question."""
    if isinstance(before, LabelAnswer) and isinstance(now, LabelAnswer):
        return abs(now.log_odds - before.log_odds)
    return 0.0 if before.chose_first == now.chose_first else math.inf


def _problem(drift: float) -> str | None:
    if drift <= DRIFT_ALARM:
        return None
    how = f"{drift:.2f} nats away from the first answers" if math.isfinite(drift) else "the other way than at first"
    return f"known pairs are judged {how}: something has changed behind the name of this judge"
