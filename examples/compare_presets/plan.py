"""What is compared: settings, judges, learning rates and seeds.

Owns the plan. The one rule: a learning rate is chosen on seeds of its own; what is reported has never been looked at to
choose anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from arr.demo.tiny_flux import GUIDANCE_SCALE, MAX_SEQUENCE_LENGTH, NUM_INFERENCE_STEPS, RESOLUTION
from services.judging.pixel_judge import PixelJudgeSettings

STEPS = 40
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
SWEEP_SEEDS = (100, 101)
REPORTED_SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """Settings under comparison."""

    name: str
    preset: str = "default"
    num_groups: int
    num_candidates: int
    micro_batches: int
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Sections of the recipe, over the preset."""
    one_order: bool = False
    """Each pair is shown to the judge in one order instead of both."""
    rate_of: str | None = None
    """The arm whose learning rate it takes; empty = it has a sweep of its own."""
    judges: tuple[str, ...] = ("sound", "noisy")

    @property
    def num_pairs(self) -> int:
        """Comparisons in a group."""
        return self.num_candidates * (self.num_candidates - 1) // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training run; its fields name it in the record."""

    arm: str
    judge: str
    rate: float
    seed: int
    steps: int = STEPS

    @property
    def key(self) -> str:
        """Tells it from every other run."""
        return "/".join(str(value) for value in asdict(self).values())


_GROUPS = {"reward": {"scheme": "win_rate"}}

ARMS = (
    Arm(name="paper", preset="paper", num_groups=30, num_candidates=2, micro_batches=3),
    Arm(name="default", num_groups=30, num_candidates=2, micro_batches=3),
    Arm(
        name="fours, equal images",
        num_groups=15,
        num_candidates=4,
        micro_batches=3,
        overrides=_GROUPS,
        rate_of="default",
        judges=("sound",),
    ),
    Arm(
        name="fours, equal calls",
        num_groups=5,
        num_candidates=4,
        micro_batches=1,
        overrides=_GROUPS,
        rate_of="default",
        judges=("sound",),
    ),
    Arm(
        name="paper, one order",
        preset="paper",
        num_groups=30,
        num_candidates=2,
        micro_batches=3,
        one_order=True,
        rate_of="paper",
        judges=("noisy",),
    ),
    Arm(
        name="default, one order",
        num_groups=30,
        num_candidates=2,
        micro_batches=3,
        one_order=True,
        rate_of="default",
        judges=("noisy",),
    ),
)
"""30 pairs are 60 images and 30 comparisons a step, 15 fours 60 and 90, 5 fours 20 and 30. A micro-batch is always 20
images."""

JUDGES = {
    "sound": PixelJudgeSettings(),
    "noisy": PixelJudgeSettings(noise=2.0, position_bias=1.0),
}
"""Nats. With this noise about a quarter of the verdicts on candidates of the default sampler name the loser, as
published judges do on pairs that people agree on."""


def arm_named(name: str) -> Arm:
    """The arm of this name. Raises `KeyError`."""
    return {arm.name: arm for arm in ARMS}[name]


def sweep(arm: Arm, judge: str) -> Iterator[Run]:
    """The runs that choose the arm's learning rate; none when it takes that of another."""
    if arm.rate_of is None:
        yield from (Run(arm=arm.name, judge=judge, rate=rate, seed=seed) for rate in RATES for seed in SWEEP_SEEDS)


def reported(arm: Arm, judge: str, *, rate: float) -> Iterator[Run]:
    """The runs that are reported."""
    return (Run(arm=arm.name, judge=judge, rate=rate, seed=seed) for seed in REPORTED_SEEDS)


def recipe(run: Run, *, model: str) -> dict[str, Any]:
    """The values of the run's recipe: what the tiny model needs, the budget, the rate, and for the rest the preset."""
    arm = arm_named(run.arm)
    values: dict[str, Any] = {
        "preset": arm.preset,
        "output_dir": "unused",
        "seed": run.seed,
        "steps": run.steps,
        "model": {
            "path": model,
            "dtype": "float32",
            "resolution": RESOLUTION,
            "num_inference_steps": NUM_INFERENCE_STEPS,
            "guidance_scale": GUIDANCE_SCALE,
            "max_sequence_length": MAX_SEQUENCE_LENGTH,
        },
        "data": {"prompts": "unused"},
        "rollout": {
            "prompts_per_step": arm.num_groups,
            "candidates": arm.num_candidates,
            "micro_batches": arm.micro_batches,
        },
        "reward": {"rubric": "shapes"},
        "optimizer": {"learning_rate": run.rate},
    }
    for section, changes in arm.overrides.items():
        values[section] = {**values.get(section, {}), **changes}
    return values
