"""One model of full size on one device: how fast it samples and trains, in what memory, at what use of the device.

Owns the order of measurements. What is measured is the trainer's own sampling and update (`trainer.rollout`,
`trainer.update`), one micro-batch at a time; a judge is not asked. Every variant is the same model with one switch set.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.full_size_models import ModelShape, random_policy
from benchmarks.memory import peak_mib_here
from benchmarks.model_work import Work, count_work, peak_flops_of
from benchmarks.report import machine_in_words
from trainer.algorithms.advantages import group_advantages
from trainer.config import TrainConfig
from trainer.distributed import Runtime
from trainer.policies import lora
from trainer.policies.base import Policy
from trainer.rollout import Rollout, sample_rollout
from trainer.update import backward_rpo

_MIB_PER_GIB = 1024
_BYTES_PER_GIB = 1024**3


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Which switches are set."""

    is_checkpointed: bool
    is_compiled: bool

    @property
    def name(self) -> str:
        """In words."""
        checkpointing = "checkpointing" if self.is_checkpointed else "no checkpointing"
        return f"{checkpointing}, compiled" if self.is_compiled else checkpointing


EAGER = (
    Variant(is_checkpointed=True, is_compiled=False),
    Variant(is_checkpointed=False, is_compiled=False),
)
ALL_VARIANTS = (
    *EAGER,
    Variant(is_checkpointed=True, is_compiled=True),
    Variant(is_checkpointed=False, is_compiled=True),
)
"""Compiled ones last: there is no way back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FullSizePlan:
    """One run."""

    model: ModelShape
    resolution: int | None
    """None = the model's own."""
    num_inference_steps: int | None
    """None = the recipe's."""
    groups: int
    """Pairs of a micro-batch."""
    repeats: int
    variants: tuple[Variant, ...]
    """None of them: only arithmetic."""
    peak_flops: float | None = None
    """A second; None = as in the table."""
    compile_backend: str = "inductor"

    def config(self) -> TrainConfig:
        """How it is trained."""
        return self.model.config(
            resolution=self.resolution, num_inference_steps=self.num_inference_steps, groups=self.groups
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Medians over the repeats, of one micro-batch."""

    sample: float
    """Seconds, without decoding."""
    decode: float
    update: float
    sample_peak_gib: float
    """Decoding included. On a CPU: of the process, so far."""
    update_peak_gib: float
    num_updated_steps: int
    """Denoising steps that are trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FullSizeRow:
    """One variant."""

    variant: Variant
    timings: Timings | None
    """None = it did not fit into the device's memory."""
    num_images: int
    num_denoising_steps: int
    work: Work
    peak_flops: float | None

    @property
    def sampled_per_second(self) -> float | None:
        """Images, decoded."""
        return None if self.timings is None else self.num_images / (self.timings.sample + self.timings.decode)

    @property
    def trained_per_second(self) -> float | None:
        """Images, sampled, decoded and trained on."""
        if self.timings is None:
            return None
        return self.num_images / (self.timings.sample + self.timings.decode + self.timings.update)

    @property
    def sample_utilisation(self) -> float | None:
        """Model FLOPs of the forward passes / (seconds without decoding × peak)."""
        if self.timings is None or self.peak_flops is None:
            return None
        flops = self.num_images * self.num_denoising_steps * self.work.forward_flops
        return flops / (self.timings.sample * self.peak_flops)

    @property
    def update_utilisation(self) -> float | None:
        """Model FLOPs of forward, backward and reference / (seconds × peak)."""
        if self.timings is None or self.peak_flops is None:
            return None
        flops = self.num_images * self.timings.num_updated_steps * self.work.update_flops
        return flops / (self.timings.update * self.peak_flops)


@dataclass(frozen=True, kw_only=True, slots=True)
class FullSizeReport:
    """A whole run."""

    machine: str
    plan: FullSizePlan
    config: TrainConfig
    work: Work
    rows: tuple[FullSizeRow, ...]
    seconds: float


def run_full_size(plan: FullSizePlan, *, on_row: Callable[[FullSizeRow], None]) -> FullSizeReport:
    """Count, then measure every variant; `on_row` hears of each as it is done. Raises `ConfigError` for a bad size."""
    begun, config, runtime = time.monotonic(), plan.config(), Runtime()
    work = count_work(plan.model, config)
    rows = []
    if plan.variants:
        bench = _Bench(plan, config, runtime)
        for variant in plan.variants:
            timings = bench.measure(variant)
            row = FullSizeRow(
                variant=variant,
                timings=timings,
                num_images=plan.groups * config.rollout.candidates,
                num_denoising_steps=config.model.num_inference_steps,
                work=work,
                peak_flops=plan.peak_flops or peak_flops_of(_device_name(runtime.device)),
            )
            rows.append(row)
            on_row(row)
    return FullSizeReport(
        machine=_in_words(runtime.device),
        plan=plan,
        config=config,
        work=work,
        rows=tuple(rows),
        seconds=time.monotonic() - begun,
    )


class _Bench:
    """The model on its device, with an optimizer."""

    def __init__(self, plan: FullSizePlan, config: TrainConfig, runtime: Runtime) -> None:
        self._plan = plan
        self._config = config
        self._runtime = runtime
        self._device = runtime.device
        policy, self._examples = random_policy(plan.model, config, device=self._device)
        self._transformer: Any = policy.transformer
        self._policy = _TimedDecoding(policy)
        self._parameters = lora.trainable_parameters(policy.transformer)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=config.optimizer.learning_rate)

    def measure(self, variant: Variant) -> Timings | None:
        """One micro-batch to warm up, `repeats` to measure; None when it does not fit."""
        self._set(variant)
        try:
            measured = [self._once(number) for number in range(self._plan.repeats + 1)][1:]
        except torch.OutOfMemoryError:
            return None
        finally:
            self._optimizer.zero_grad()
            gc.collect()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        return Timings(
            sample=median(each.sample for each in measured),
            decode=median(each.decode for each in measured),
            update=median(each.update for each in measured),
            sample_peak_gib=max(each.sample_peak_gib for each in measured),
            update_peak_gib=max(each.update_peak_gib for each in measured),
            num_updated_steps=measured[0].num_updated_steps,
        )

    def _set(self, variant: Variant) -> None:
        if variant.is_checkpointed:
            self._transformer.enable_gradient_checkpointing()
        else:
            self._transformer.disable_gradient_checkpointing()
        if variant.is_compiled:
            self._transformer.compile_repeated_blocks(backend=self._plan.compile_backend)

    def _once(self, number: int) -> Timings:
        self._policy.seconds = 0.0
        self._reset_peak()
        sampling, rollout = self._timed(lambda: self._sample(number))
        sample_peak = self._peak_gib()
        self._reset_peak()
        updating, _ = self._timed(lambda: self._update(rollout))
        return Timings(
            sample=sampling - self._policy.seconds,
            decode=self._policy.seconds,
            update=updating,
            sample_peak_gib=sample_peak,
            update_peak_gib=self._peak_gib(),
            num_updated_steps=len(rollout.steps),
        )

    def _sample(self, number: int) -> Rollout:
        return sample_rollout(
            cast(Policy, self._policy),
            self._examples,
            config=self._config.rollout,
            seed=self._config.seed,
            step=number,
            first_group=0,
        )

    def _update(self, rollout: Rollout) -> None:
        """As the trainer does, with rewards that are made up: the first candidate of every pair is preferred."""
        reward, loss = self._config.reward, self._config.loss
        rewards_pg = torch.tensor([[reward.preferred, reward.dispreferred]] * self._plan.groups)
        backward_rpo(
            cast(Policy, self._policy),
            [rollout],
            group_advantages(rewards_pg, baseline=loss.baseline, scale=loss.scale, clip=loss.advantage_clip),
            num_judged=self._plan.groups,
            config=self._config,
            backward=self._runtime.backward,
        )
        self._runtime.clip_gradients(self._parameters, max_norm=self._config.optimizer.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        finish(self._device)
        begun = time.perf_counter()
        result = work()
        finish(self._device)
        return time.perf_counter() - begun, result

    def _reset_peak(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def _peak_gib(self) -> float:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / _BYTES_PER_GIB
        return peak_mib_here() / _MIB_PER_GIB


class _TimedDecoding:
    """A policy whose decoding is timed."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def decode(self, latents_bnd: Tensor) -> Tensor:
        finish(self._policy.device)
        begun = time.perf_counter()
        images = self._policy.decode(latents_bnd)
        finish(self._policy.device)
        self.seconds += time.perf_counter() - begun
        return images


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _in_words(device: torch.device) -> str:
    """The machine, and what of it computes."""
    software = f"torch {torch.__version__}"
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / _BYTES_PER_GIB
        return f"{_device_name(device)}, {memory:.0f} GiB, {software}, CUDA {torch.version.cuda}; {machine_in_words()}"
    return f"CPU, threads: {torch.get_num_threads()}, {software}; {machine_in_words()}"
