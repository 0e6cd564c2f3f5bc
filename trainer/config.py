"""The configuration of a training run: TOML in, a frozen `TrainConfig` out.

Imports no torch, so that a mistake in a recipe is reported before anything heavy is loaded. Unknown keys are errors.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared_schemas.reward import MAX_PAIRWISE_CANDIDATES, Scheme
from shared_schemas.rubrics import Mode, RubricReference, Task
from trainer.errors import ConfigError
from trainer.presets import Preset, under_recipe

RUNTIME_KEYS: dict[str, bool | set[str]] = {
    "preset": True,
    "output_dir": True,
    "steps": True,
    "num_threads": True,
    "checkpoint": True,
    "evaluation": True,
    "model": {"gradient_checkpointing"},
    "rollout": {"micro_batches"},
    "ema": {"on_cpu"},
    "tracking": True,
    "data": True,
    "reward": {
        "url",
        "rubric",
        "deadline_seconds",
        "max_wait_seconds",
        "max_failed_fraction",
        "max_tied_fraction",
        "allow_pixel_judge",
    },
}
"""Parts of a recipe that may change between the parts of a run, as they do not shape the weights, or by rounding
only; prompts and rubric are compared by content."""

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys are errors, every key documented, numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class ModelConfig(Section):
    """Which pipeline is trained, and how it samples during training."""

    family: Literal["flux", "sd3", "qwen_image_edit", "qwen_image_edit_plus", "z_image"] = "flux"
    """Which policy file drives it."""
    path: str
    """Directory (or hub id) that the diffusers pipeline's `from_pretrained` takes."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of the frozen base weights; adapters are always float32."""
    resolution: Annotated[int, Field(ge=16, multiple_of=16)] = 512
    """Width and height in pixels."""
    num_inference_steps: Annotated[int, Field(ge=2)] = 8
    """Denoising steps T of a rollout and of an evaluation sample."""
    guidance_scale: float = 3.5
    """FLUX's guidance embedding, or the scale of classifier-free guidance (`sd3`, off at 1; `z_image`, off at 0); the
    same as after training."""
    true_cfg_scale: float = 4.0
    """Scale of classifier-free guidance (`qwen_image_edit`, `qwen_image_edit_plus`); 1 turns it off. The same as after
    training."""
    negative_prompt: str = " "
    """What that guidance leads away from."""
    max_sequence_length: Positive = 512
    """Tokens the T5 prompt is padded to; 256 is usual for `sd3`. A longer prompt is an error: nothing is cut off."""
    gradient_checkpointing: bool = False
    """Trade a second forward pass for memory."""

    @property
    def is_edit(self) -> bool:
        """Whether the model edits source images."""
        return self.family.startswith("qwen_image_edit")

    @property
    def task(self) -> Task:
        """What its rubrics are for."""
        return Task.EDIT if self.is_edit else Task.T2I

    @property
    def used_negative_prompt(self) -> str | None:
        """None where there is no true classifier-free guidance."""
        return self.negative_prompt if self.is_edit and self.true_cfg_scale > 1.0 else None

    @model_validator(mode="after")
    def _guidance_is_this_familys(self) -> Self:
        """A scale under the wrong name would be lost without a word."""
        ignored = ("guidance_scale",) if self.is_edit else ("true_cfg_scale", "negative_prompt")
        for name in ignored:
            if getattr(self, name) != type(self).model_fields[name].default:
                used = "true_cfg_scale" if self.is_edit else "guidance_scale"
                raise ValueError(f"{name} has no effect on {self.family}; its guidance is {used}")
        return self


class LoraConfig(Section):
    """The adapter that is trained."""

    rank: Positive = 16
    """r."""
    alpha: Positive = 32
    """The update is scaled by alpha / rank."""
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """`all-linear`, or suffixes of module names."""


class DataConfig(Section):
    """What is sampled."""

    prompts: Path
    """JSON Lines of `{"prompt": …}` or `{"prompt": …, "source_image": "before.png"}`, a folder that Hugging Face's
    `save_to_disk` wrote, or a JSON file of ShareGPT-4o-Image."""
    prompt_column: str | None = None
    """What a row calls its prompt. Empty = `prompt`; `input_prompt` in ShareGPT-4o-Image."""
    source_column: str | None = None
    """What it calls its source image or images. Empty = `source_image`, `input_image`, and rows may do without."""
    prepared: Annotated[Path | None, BeforeValidator(lambda value: value or None)] = None
    """Folder that `arr prepare` fills with encoded examples; training then loads no text encoder. Empty = encode at
    every start."""


class RolloutConfig(Section):
    """How candidates are drawn."""

    prompts_per_step: Positive = 32
    """Groups P per training step."""
    candidates: Annotated[int, Field(ge=2, le=64)] = 2
    """Candidates G per prompt; up to 8 can be compared pair by pair."""
    micro_batches: Positive = 4
    """Each is sampled in one batch, posted for reward while the next is sampled, and trained on as sampled."""
    step: Literal["cps", "dance", "flow"] = "cps"
    """The stochastic sampler: coefficients-preserving, DanceGRPO's (RPO's reference) or Flow-GRPO's."""
    eta: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Noise level of the sampler; usual are 0.9 for `cps`, 0.3 for `dance` and 0.7 for `flow`."""
    same_initial_noise: bool = True
    """Candidates of one prompt start from the same noise and part along the way."""
    window: Positive | None = None
    """Stochastic steps in a row, the others being deterministic; where they begin is drawn anew for every training
    step, the same for all groups. Empty = all steps but the last."""

    @property
    def groups_at_once(self) -> int:
        """Groups of one micro-batch."""
        return self.prompts_per_step // self.micro_batches

    @property
    def images_at_once(self) -> int:
        """Candidates of one micro-batch: what has to fit into memory."""
        return self.groups_at_once * self.candidates

    @model_validator(mode="after")
    def _micro_batches_are_equal(self) -> Self:
        if self.prompts_per_step % self.micro_batches:
            raise ValueError(
                f"prompts_per_step ({self.prompts_per_step}) must be a multiple of micro_batches ({self.micro_batches})"
            )
        return self


def _refuse_unreadable_reference(text: str) -> str:
    RubricReference.parse(text)
    return text


class RewardConfig(Section):
    """Where rewards come from."""

    url: str = "http://127.0.0.1:8080"
    """The reward service."""
    rubric: Annotated[str, AfterValidator(_refuse_unreadable_reference)]
    """`name@alias`, `name@3` or `name`; resolved once and pinned by digest for the whole run."""
    mode: Mode | None = None
    """`pairwise`: candidates are compared; `pointwise`: each is scored alone. Empty = as the rubric set is used."""
    scheme: Scheme | None = None
    """How verdicts become rewards: `binary` or `rank`, `win_rate`, `margin`, `score` (pointwise). Empty = `binary` for
    two candidates, `rank` for more, `score` for pointwise judging."""
    preferred: float = 1.0
    """Reward of the best candidate, for `binary` and `rank`."""
    dispreferred: float = -1.0
    """Reward of the worst one. The paper's −0.1 is available; −1.0 measured better (docs/experiments.md)."""
    tie_margin: Annotated[float, Field(ge=0.0)] | None = None
    """Nats; |margin| below it is a tie and leaves the loss. Empty = the service's default."""
    tie_score: Annotated[float, Field(ge=0.0)] | None = None
    """The same for pointwise scores. Empty = 0."""
    deadline_seconds: Annotated[float, Field(gt=0.0, le=3600.0)] = 120.0
    """How long one request may take, retries included."""
    max_wait_seconds: Annotated[float, Field(ge=0.0, le=86400.0)] = 1800.0
    """How long the run waits, asking again and again, for a service or a judge that is away; then it stops, with a
    checkpoint."""
    max_failed_fraction: Fraction = 0.25
    """The run stops, with a checkpoint, when a larger share of a step's groups was not judged."""
    max_tied_fraction: Fraction = 1.0
    """The same for groups that the judge could not separate."""
    allow_pixel_judge: bool = False
    """Allow training on the built-in stand-in judge."""

    @model_validator(mode="after")
    def _the_preferred_candidate_is_paid_more(self) -> Self:
        if self.preferred <= self.dispreferred:
            raise ValueError(f"preferred ({self.preferred}) must be above dispreferred ({self.dispreferred})")
        return self


class LossConfig(Section):
    """The RPO objective (arXiv 2605.08354)."""

    clip_range: Annotated[float, Field(gt=0.0)] = 1e-3
    """ε of the clipped ratio."""
    kl_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """β of the KL to the adapter-off model."""
    kl: Literal["gaussian", "log_ratio"] = "gaussian"
    """`gaussian` is exact and pulls back. `log_ratio`, log p − log p_ref of the samples, has the same mean but a mean
    gradient of zero: it adds noise and no pull. It is what was published, and here for the preset `paper`."""
    advantage_clip: Annotated[float, Field(gt=0.0)] = 5.0
    """Advantages are clipped to ± this."""
    baseline: Literal["none", "group"] = "group"
    """What is subtracted from a reward: nothing, or the mean of its group."""
    scale: Literal["none", "group", "batch"] = "none"
    """What it is divided by: nothing, the group's standard deviation (GRPO), or that of the whole step. Groups of equal
    rewards leave the loss where there is a scale."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over the dimensions of a latent, for log-probabilities and KL alike; clip range and KL weight depend on it."""


class OptimizerConfig(Section):
    """AdamW with linear warm-up and a constant learning rate."""

    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-4
    """After warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] = 5
    """Steps of linear warm-up."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Decoupled weight decay."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    """Gradients are clipped to this norm."""


class CheckpointConfig(Section):
    """When the run is saved."""

    every: Positive = 10
    """Steps between checkpoints; the last step is always saved."""
    keep: Positive = 2
    """How many are kept."""
    keep_best: bool = True
    """Beside these, keep the one that the held-out judge liked best, and better than the base; saved when it is
    evaluated. Without a held-out judge there is none."""
    accept_changes: tuple[Literal["rubric", "judge"], ...] = ()
    """What may differ from the last checkpoint of the run; otherwise it refuses to go on. For one start, on the command
    line: `checkpoint.accept_changes='["judge"]'`."""


class EvaluationConfig(Section):
    """Tuned against base on fixed prompts and noises."""

    prompts: Path | None = None
    """As `data.prompts`; those not trained on are reported as held out. Empty = no evaluation."""
    prompt_column: str | None = None
    """As `data.prompt_column`."""
    source_column: str | None = None
    """As `data.source_column`."""
    every: Positive = 10
    """Steps between evaluations; the first and the last step are always evaluated."""
    images_per_prompt: Positive = 12
    """Fixed noises per prompt."""
    seed: int = 10_000
    """Seed of the fixed noises."""
    held_out_rubric: Annotated[str, AfterValidator(_refuse_unreadable_reference)] | None = None
    """Rubric set of the held-out judge, which is asked about the same pairs and never trained on. Empty =
    `reward.rubric`."""
    held_out_url: str | None = None
    """The reward service of the held-out judge. Empty = `reward.url`; with neither of both there is no such judge."""
    held_out_tie_margin: Annotated[float, Field(ge=0.0)] | None = None
    """As `reward.tie_margin`, for its verdicts; a margin belongs to a rubric set. Empty = that service's default."""
    held_out_tie_score: Annotated[float, Field(ge=0.0)] | None = None
    """The same for pointwise scores. Empty = 0."""
    stop_on_alarm: bool = False
    """Save and stop when the two judges part: the training judge sees progress that the held-out one does not. They are
    reported either way."""

    @property
    def has_held_out_judge(self) -> bool:
        """Whether a second judge is asked."""
        return self.held_out_rubric is not None or self.held_out_url is not None

    @model_validator(mode="after")
    def _the_held_out_judge_is_there(self) -> Self:
        is_configured = self.held_out_tie_margin is not None or self.held_out_tie_score is not None
        if (self.stop_on_alarm or is_configured) and not self.has_held_out_judge:
            raise ValueError("there is no held-out judge; set evaluation.held_out_rubric or evaluation.held_out_url")
        return self


class EmaConfig(Section):
    """The moving average of the adapter's weights."""

    decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """How much of the average stays at every step, after a warm-up; evaluations and exports then use the average. 0 =
    none is kept."""
    on_cpu: bool = False
    """Keep it in the memory of the CPU."""


class TrackingConfig(Section):
    """Where curves and image grids are shown, beside `metrics.jsonl`."""

    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] | None = None
    """Empty = `tensorboard`, where it is installed; `[]` = none."""
    project: Annotated[str, Field(min_length=1)] = "rubric-reward"
    """Project of wandb and trackio. Runs are named after the output directory."""


class TrainConfig(Section):
    """A training run."""

    preset: Preset = "default"
    """Values to start from; the recipe's own win. `paper`: as published (arXiv 2605.08354), for this family."""
    output_dir: Path
    """Everything the run writes goes here; starting again with the same directory resumes."""
    seed: int = 0
    """Every random number is a function of it and of the step."""
    steps: Positive = 100
    """Optimizer steps."""
    num_threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads for torch; 0 = torch's default."""
    model: ModelConfig
    lora: LoraConfig = LoraConfig()
    data: DataConfig
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    ema: EmaConfig = EmaConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _preset_fills_what_the_recipe_leaves_open(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("model"), dict):
            return values
        family = values["model"].get("family", ModelConfig.model_fields["family"].default)
        return under_recipe(str(values.get("preset", "default")), values, family=str(family))

    @model_validator(mode="after")
    def _the_window_fits_the_steps(self) -> Self:
        stochastic = self.model.num_inference_steps - 1  # the last step is deterministic in every sampler
        if self.rollout.window is not None and self.rollout.window > stochastic:
            steps, window = self.model.num_inference_steps, self.rollout.window
            raise ValueError(f"of {steps} denoising steps {stochastic} can be stochastic; rollout.window is {window}")
        return self

    @model_validator(mode="after")
    def _the_scheme_fits_the_group(self) -> Self:
        scheme, mode, num_candidates = self.reward.scheme, self.reward.mode, self.rollout.candidates
        if scheme is Scheme.BINARY and num_candidates != 2:
            raise ValueError(f"reward.scheme = binary is for 2 candidates; rollout.candidates is {num_candidates}")
        if scheme is Scheme.SCORE and mode is Mode.PAIRWISE:
            raise ValueError("reward.scheme = score is for pointwise judging; a pair has no scores")
        if mode is Mode.PAIRWISE and num_candidates > MAX_PAIRWISE_CANDIDATES:
            most = MAX_PAIRWISE_CANDIDATES
            raise ValueError(f"up to {most} candidates are compared pairwise; rollout.candidates is {num_candidates}")
        return self

    def held_out_reward(self) -> RewardConfig | None:
        """How the held-out judge is asked; None when there is none. Nothing waits for it, or stops with it."""
        held_out = self.evaluation
        if not held_out.has_held_out_judge:
            return None
        return self.reward.model_copy(
            update={
                "url": held_out.held_out_url or self.reward.url,
                "rubric": held_out.held_out_rubric or self.reward.rubric,
                "mode": None if held_out.held_out_rubric else self.reward.mode,
                "scheme": None,
                "tie_margin": held_out.held_out_tie_margin,
                "tie_score": held_out.held_out_tie_score,
                "max_wait_seconds": 0.0,
                "max_failed_fraction": 1.0,
                "max_tied_fraction": 1.0,
            }
        )

    def shaping_values(self) -> dict[str, Any]:
        """What shapes the weights, as JSON values: a run goes on, and is exported, with the same ones only."""
        return self.model_dump(mode="json", exclude=RUNTIME_KEYS)


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a recipe and apply `section.key=value` overrides (values are TOML; bare words are strings).

    Raises `ConfigError` when the file cannot be read or any value is wrong.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    for override in overrides:
        _apply_override(values, override)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, item['loc'])) or 'config'}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{path}: " + f"\n{path}: ".join(lines)) from error


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"{override!r} is not an override; write section.key=value, for example steps=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{override!r}: {section!r} is a value, not a section")
    values[name] = value
