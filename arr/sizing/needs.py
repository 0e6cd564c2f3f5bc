"""From a training cluster and the speed of one judge to what has to be there.

Owns the formulas; each `Line` of the answer carries its own. What a question costs in tokens is `tokens`, how long
trainers wait is `waiting`.

The one rule: a number that nobody gave or measured is an assumption, and is named one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from arr.sizing.tokens import CallTokens, Question, call_tokens
from arr.sizing.waiting import Balance, Runs, balance
from services.judging.answers import LabelAnswer, encode_answer
from services.storage.redis_verdicts import KEY_PREFIX
from shared_schemas.reward import Orders
from shared_schemas.rubrics import Mode, Task

BYTES_PER_PIXEL = 1.3
"""Of a PNG: those of docs/benchmarks.md have 300 to 370 kB for 512 × 512 pixels."""

PAIRS_PER_PROCESS = 50.0
"""Pairs a second that one service process judges in both orders, whatever their size: docs/benchmarks.md."""

DECODING_SECONDS = 0.017
"""CPU of checking and decoding one image of 512 × 512 pixels, on another core: docs/benchmarks.md."""

REDIS_OVERHEAD = 115
"""Bytes that Redis 7 takes for an entry besides its key and value: measured with 100,000 verdicts."""

CALLS_IN_FLIGHT = 256
"""`ARR_MAX_JUDGE_WINDOW`: the most that one process gives one replica at a time."""

MOST_REPLICAS = 100_000
"""Where looking for a number that is enough ends."""

_BASE64 = 4 / 3


class CannotBeMetError(ValueError):
    """No number of judges brings the waiting down to what is wanted; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """The GPUs that train, and one step of one run."""

    num_gpus: int
    gpus_per_run: int
    sample_seconds: float
    """Of one image on one GPU."""
    update_seconds: float
    """Of a step: everything but sampling and waiting."""
    groups: int
    """Prompts per step of one run, over all its GPUs."""
    candidates: int
    """Images per prompt."""
    micro_batches: int
    """Parts that a step is sampled and judged in."""

    @property
    def num_runs(self) -> float:
        """Runs; the last one may have fewer GPUs."""
        return self.num_gpus / self.gpus_per_run

    @property
    def images(self) -> int:
        """Of one step."""
        return self.groups * self.candidates

    @property
    def sampling_seconds(self) -> float:
        """Of one step."""
        return self.images * self.sample_seconds / self.gpus_per_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Judging:
    """How the images are judged."""

    question: Question
    orders: Orders
    asked_twice: float
    """Share of the pairs that `adaptive` asks in both orders."""
    cache_hits: float
    """Share of the answers that are remembered."""

    def questions(self, training: Training) -> int:
        """Of one group: its pairs, or its images."""
        size = training.candidates
        return size if self.question.mode is Mode.POINTWISE else size * (size - 1) // 2

    @property
    def answers(self) -> float:
        """Of one question: orders of a pair, or criteria of an image."""
        if self.question.mode is Mode.POINTWISE:
            return self.question.num_criteria
        return {Orders.BOTH: 2.0, Orders.SINGLE: 1.0, Orders.ADAPTIVE: 1.0 + self.asked_twice}[self.orders]

    @property
    def images_per_call(self) -> int:
        """That one request shows the judge."""
        return (2 if self.question.mode is Mode.PAIRWISE else 1) + (self.question.task is Task.EDIT)

    @property
    def at_once(self) -> int:
        """Calls that go to one replica together."""
        return 2 if self.question.mode is Mode.PAIRWISE and self.orders is Orders.BOTH else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSpeed:
    """What one replica does."""

    tokens_per_second: float
    """That it reads, at full load."""
    idle_call_seconds: float
    """Of one call besides reading: the way there and back, one step of the server, decoding."""
    is_measured: bool
    """Whether somebody measured it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """When it is enough."""

    wait_share: float
    """Most of a step that its GPUs may stand still."""
    headroom: float
    """Share of the judge's capacity that is left over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One number of the answer."""

    name: str
    value: float
    unit: str
    formula: str
    """How it comes about, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What a cluster needs. Rates are per second, while every run trains."""

    training: Training
    judging: Judging
    speed: JudgeSpeed
    replicas: int

    @property
    def tokens(self) -> CallTokens:
        """Of one call."""
        return call_tokens(self.judging.question)

    @property
    def step_calls(self) -> float:
        """Judge calls of one step of one run."""
        questions = self.training.groups * self.judging.questions(self.training)
        return questions * self.judging.answers * (1.0 - self.judging.cache_hits)

    @property
    def replica_calls(self) -> float:
        """Calls a second that one replica answers."""
        return self.speed.tokens_per_second / self.tokens.fresh

    @property
    def idle_seconds(self) -> float:
        """Until the calls of one pair, or one call, are answered by a replica that does nothing else."""
        return self.speed.idle_call_seconds + self.judging.at_once / self.replica_calls

    @property
    def busy_seconds(self) -> float:
        """Of a step without waiting."""
        return self.training.sampling_seconds + self.training.update_seconds

    @property
    def calls(self) -> float:
        """Judge calls a second if nobody ever waited."""
        return self.training.num_runs * self.step_calls / self.busy_seconds

    @property
    def images(self) -> float:
        """Images a second, likewise."""
        return self.training.num_runs * self.training.images / self.busy_seconds

    @property
    def questions(self) -> float:
        """Pairs, or images, that are judged a second, likewise."""
        return self.training.num_runs * self.training.groups * self.judging.questions(self.training) / self.busy_seconds

    @property
    def utilisation(self) -> float:
        """Of all replicas, if nobody ever waited; above 1 there are too few."""
        return self.calls / (self.replicas * self.replica_calls)

    @property
    def balance(self) -> Balance:
        """What becomes of it when runs do wait."""
        training = self.training
        runs = Runs(
            count=math.ceil(training.num_runs),
            sample_seconds=training.sampling_seconds,
            other_seconds=training.update_seconds,
            micro_batches=training.micro_batches,
            calls=self.step_calls,
        )
        return balance([runs], capacity=self.replicas * self.replica_calls, floor_seconds=self.idle_seconds)

    @property
    def processes(self) -> int:
        """Service processes (`arr serve`)."""
        return math.ceil(self.service_calls / (2 * PAIRS_PER_PROCESS))

    @property
    def service_calls(self) -> float:
        """Answers a second that the service gives, remembered ones included."""
        return self.questions * self.judging.answers

    @property
    def cores(self) -> float:
        """CPU cores that the service keeps busy: event loops, and decoding beside them."""
        decoding = DECODING_SECONDS * self.judging.question.picture.pixels / 512**2
        return self.service_calls / (2 * PAIRS_PER_PROCESS) + self.images * decoding

    @property
    def image_bytes(self) -> float:
        """Of one image as PNG."""
        return self.judging.question.picture.pixels * BYTES_PER_PIXEL


def needs_of(training: Training, judging: Judging, speed: JudgeSpeed, *, wanted: Wanted) -> Needs:
    """The fewest replicas that leave `headroom` free and keep the waiting within `wait_share`.

    Raises `CannotBeMetError`: what a single call takes is waited for with any number of replicas.
    """

    def with_replicas(number: int) -> Needs:
        return Needs(training=training, judging=judging, speed=speed, replicas=number)

    one = with_replicas(1)
    fewest = max(1, math.ceil(one.utilisation / (1.0 - wanted.headroom) - 1e-9))
    shortest = with_replicas(MOST_REPLICAS).balance.steps[0]
    if shortest.wait_share > wanted.wait_share:
        raise CannotBeMetError(
            f"a step of {shortest.seconds:.3g} s waits {shortest.wait_seconds:.2g} s for its last answers "
            f"({shortest.wait_share:.1%}) with any number of judges; allow a larger share, or more work per step"
        )
    low, high = fewest - 1, max(fewest, MOST_REPLICAS)
    while high - low > 1:  # more replicas never wait longer
        middle = (low + high) // 2
        enough = with_replicas(middle).balance.steps[0].wait_share <= wanted.wait_share
        low, high = (low, middle) if enough else (middle, high)
    return with_replicas(high)


def verdict_bytes() -> int:
    """Bytes that one remembered answer takes in Redis: its key and its value as they are stored, and Redis's own."""
    key = f"sha256:{'0' * 64}"
    third = 1 / 3  # as many digits as most numbers have
    answer = LabelAnswer(
        log_p_first=-third, log_p_second=-third, label_mass=third, prompt_tokens=1000, completion_tokens=1
    )
    return len(KEY_PREFIX + key) + len(encode_answer(key, answer)) + REDIS_OVERHEAD


def lines_of(needs: Needs) -> Iterator[Line]:
    """Everything, in the order in which it follows from each other."""
    yield from _costs(needs)
    yield from _rates(needs)
    yield from _waits(needs)
    yield from _surroundings(needs)


def _costs(needs: Needs) -> Iterator[Line]:
    question, tokens = needs.judging.question, needs.tokens
    yield Line(
        name="tokens of an image",
        value=question.picture.tokens,
        unit="tokens",
        formula=f"one for 32×32 pixels of {question.picture.width}×{question.picture.height} (Qwen3-VL)",
    )
    yield Line(
        name="tokens of a call",
        value=tokens.whole,
        unit="tokens",
        formula="our prompt (4 characters a token) + rubric + prompt + images",
    )
    yield Line(
        name="read of it",
        value=tokens.fresh,
        unit="tokens",
        formula="less what the server's prefix cache has: system and rubric text of a pair, the image of a criterion",
    )
    source = "as measured" if needs.speed.is_measured else "ASSUMED, not measured"
    yield Line(
        name="calls of one replica",
        value=needs.replica_calls,
        unit="calls/s",
        formula=f"{needs.speed.tokens_per_second:,.0f} tokens/s ({source}) ÷ tokens read",
    )


def _rates(needs: Needs) -> Iterator[Line]:
    training, judging = needs.training, needs.judging
    pairwise = judging.question.mode is Mode.PAIRWISE
    yield Line(
        name="images",
        value=needs.images,
        unit="images/s",
        formula=f"{training.num_runs:g} runs × {training.images} images ÷ "
        f"{needs.busy_seconds:g} s of sampling and update",
    )
    yield Line(
        name="pairs" if pairwise else "scored images",
        value=needs.questions,
        unit="per s",
        formula="images/s × (G − 1) / 2 for groups of G" if pairwise else "every image by itself",
    )
    yield Line(
        name="judge calls",
        value=needs.calls,
        unit="calls/s",
        formula=f"× {judging.answers:g} {'orders' if pairwise else 'criteria'} "
        f"× (1 − {judging.cache_hits:g} remembered)",
    )


def _waits(needs: Needs) -> Iterator[Line]:
    step = needs.balance.steps[0]
    yield Line(
        name="judge replicas",
        value=needs.replicas,
        unit="",
        formula="the fewest that leave the headroom free and keep the waiting within its share",
    )
    yield Line(
        name="utilisation",
        value=100 * needs.utilisation,
        unit="%",
        formula="judge calls/s ÷ (replicas × calls/s of one)",
    )
    yield Line(
        name="waiting",
        value=step.wait_seconds,
        unit="s/step",
        formula=f"one call + max(W/M, W − S·(M−1)/M): S = {needs.training.sampling_seconds:g} s of sampling, "
        f"M = {needs.training.micro_batches} micro-batches, W = the step's work at this run's share of the judge",
    )
    yield Line(
        name="waiting, share",
        value=100 * step.wait_share,
        unit="%",
        formula=f"of a step of {step.seconds:.3g} s",
    )


def _surroundings(needs: Needs) -> Iterator[Line]:
    judging, megabyte = needs.judging, 1e6
    yield Line(
        name="service processes",
        value=needs.processes,
        unit="",
        formula=f"{PAIRS_PER_PROCESS:g} pairs/s in both orders each, as measured",
    )
    yield Line(
        name="service CPU",
        value=needs.cores,
        unit="cores",
        formula=f"10 ms an answer + {1000 * DECODING_SECONDS:g} ms an image of 512×512 pixels, measured",
    )
    yield Line(
        name="trainers → service",
        value=needs.images * needs.image_bytes / megabyte,
        unit="MB/s",
        formula=f"images/s × {BYTES_PER_PIXEL:g} bytes a pixel (PNG)",
    )
    yield Line(
        name="service → judges",
        value=needs.calls * judging.images_per_call * needs.image_bytes * _BASE64 / megabyte,
        unit="MB/s",
        formula=f"judge calls/s × {judging.images_per_call} images × PNG × 4/3 (base64)",
    )
    yield Line(
        name="trainers' connections",
        value=math.ceil(needs.training.num_runs) * needs.training.micro_batches,
        unit="at most",
        formula="runs × micro-batches",
    )
    yield Line(
        name="judges' connections",
        value=needs.processes * needs.replicas * CALLS_IN_FLIGHT,
        unit="at most",
        formula=f"service processes × replicas × {CALLS_IN_FLIGHT} (ARR_MAX_JUDGE_WINDOW); usual are calls/s × seconds",
    )
    yield Line(
        name="Redis, a million verdicts",
        value=verdict_bytes(),
        unit="MB",
        formula=f"key + value as stored + {REDIS_OVERHEAD} bytes, × 10⁶",
    )
    yield Line(
        name="new verdicts a day",
        value=needs.calls * 86_400 / 1e6,
        unit="million",
        formula="judge calls/s × 86,400 s",
    )
