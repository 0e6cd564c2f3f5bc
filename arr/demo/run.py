"""The demo's story: build a model, start the service, learn a rubric set, train, look, report.

Owns the order and the files in `demo_out/`; each chapter lives in its own module. What was interrupted goes on where it
stopped, but for pre-training, which is done whole or not at all.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from threading import Event

import tomli_w

from arr.connection import DEFAULT_URL
from arr.demo.ground_truth import GroundTruth, ensure_ground_truth
from arr.demo.learning import LearnedRubric, learn_rubric
from arr.demo.outcome import Outcome, read_outcome
from arr.demo.report import save_example_pair, write_report
from arr.demo.shapes import PROMPTS, TRAIN_PROMPTS
from arr.demo.stages import Progress
from arr.demo.tiny_flux import ensure_tiny_flux
from arr.service_process import running_service
from shared_schemas.reward import JudgeIdentity
from trainer.config import TrainConfig, load_config
from trainer.errors import ConfigError
from trainer.export import RubricText, export_run
from trainer.monitors import Monitor
from trainer.train import train

RUBRIC_NAME = "tiny-shapes"
RUBRIC_ALIAS = "production"

_RECIPE = Path(str(files("trainer"))) / "configs" / "tiny_flux.toml"

_OWNED = ("output_dir", "model.", "data.", "evaluation.prompts", "reward.url", "reward.rubric")
"""Keys that hang together with what the demo builds: drawings of 32 pixels, their captions, its own service."""

SMOKE_OVERRIDES = ("steps=4", "evaluation.every=2", "evaluation.images_per_prompt=2", "rollout.prompts_per_step=8")
"""A run of seconds that goes through every room but learns nothing worth showing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSettings:
    """What the command line asks for."""

    output: Path
    """Where results go."""
    cache: Path
    """Where the pre-trained model is kept from one demo to the next."""
    seed: int = 0
    """Seed of the training run; the model it starts from is always the same."""
    overrides: tuple[str, ...] = ()
    """Changes to the recipe, `section.key=value`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """A finished demo."""

    seed: int
    outcome: Outcome
    report: Path
    adapter: Path


def run_demo(
    settings: DemoSettings,
    *,
    stage: Progress,
    monitor: Monitor,
    announce: Callable[[str], None],
    stop: Event,
) -> DemoResult | None:
    """Run the whole demo; returns None when it was asked to stop (the same call goes on).

    Raises `TrainerError`, `RewardClientError`, `LearningFailedError` or `ServiceDidNotStartError` when a chapter cannot
    be finished.
    """
    demo_config(settings, model=Path("built below"), url=DEFAULT_URL)  # a mistake shows before minutes of work

    def stage_unless_stopped(name: str, done: int, total: int) -> None:
        stage(name, done, total)
        if stop.is_set():
            raise _StoppedError

    try:
        model = ensure_tiny_flux(settings.cache, seed=0, progress=stage_unless_stopped)
        truth = ensure_ground_truth(settings.cache, progress=stage_unless_stopped)
    except _StoppedError:
        return None
    with running_service(settings.output / "service", log=settings.output / "service.log") as service:
        announce(f"reward service: {service.url} (its log: {service.log})")
        try:
            rubric = learn_rubric(service.url, RUBRIC_NAME, alias=RUBRIC_ALIAS, progress=stage_unless_stopped)
        except _StoppedError:
            return None
        announce(f"learned {rubric.version.name}@{rubric.version.version}: {rubric.summary}")
        config = demo_config(settings, model=model, url=service.url)
        outcome = train(config, monitors=[monitor], should_stop=stop.is_set, announce=announce)
        if not outcome.is_complete:
            return None
    return _finish(settings, config, rubric, outcome.pinned.judge, truth)


def demo_config(settings: DemoSettings, *, model: Path, url: str) -> TrainConfig:
    """The shipped recipe with the demo's own paths, and the prompt files it names. Raises `ConfigError`."""
    for override in settings.overrides:
        if override.startswith(_OWNED):
            raise ConfigError(f"{override!r}: the demo sets this itself; `arr train` takes any recipe")
    files = settings.output / "prompts"
    files.mkdir(parents=True, exist_ok=True)
    for name, prompts in (("train", TRAIN_PROMPTS), ("all", PROMPTS)):
        lines = [json.dumps({"prompt": prompt}) for prompt in prompts]
        (files / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    paths = {
        "output_dir": settings.output / "run",
        "model.path": model,
        "data.prompts": files / "train.jsonl",
        "evaluation.prompts": files / "all.jsonl",
        "reward.url": url,
    }
    quoted = [f"{key}={json.dumps(str(value))}" for key, value in paths.items()]
    return load_config(_RECIPE, [*quoted, f"seed={settings.seed}", *settings.overrides])


def _finish(
    settings: DemoSettings, config: TrainConfig, rubric: LearnedRubric, judge: JudgeIdentity, truth: GroundTruth
) -> DemoResult:
    version = rubric.version
    text = RubricText(reference=f"{version.name}@{version.version}", content=version.content)
    adapter = export_run(config, settings.output / "adapter", rubric=text)
    metrics = settings.output / "metrics.jsonl"
    shutil.copyfile(config.output_dir / "metrics.jsonl", metrics)
    outcome = read_outcome(config, metrics=metrics, truth=truth, prompts=PROMPTS)
    write_recipe(settings.output / "recipe.toml", config)
    save_example_pair(outcome, settings.output / "examples")
    report = write_report(settings.output, config, outcome, rubric=rubric, judge=judge)
    return DemoResult(seed=config.seed, outcome=outcome, report=report, adapter=adapter)


def write_recipe(path: Path, config: TrainConfig) -> None:
    """The demo's recipe with the paths of this machine, to go on from with `arr train` and a service of one's own."""
    values = config.model_dump(mode="json", exclude_none=True)
    values["output_dir"] = f"runs/{config.output_dir.resolve().parent.name}"
    values["reward"]["url"] = DEFAULT_URL
    path.write_text(tomli_w.dumps(values))


def forget_finished_runs(outputs: Sequence[Path]) -> None:
    """A report stands at the end of a demo: when all of them have one, the next demo starts anew."""
    if all((output / "report.html").exists() for output in outputs):
        for output in outputs:
            for name in ("run", "service"):
                shutil.rmtree(output / name, ignore_errors=True)
            (output / "report.html").unlink()


class _StoppedError(Exception):
    """The demo was asked to stop while it built something that cannot be saved half-done."""
