"""The example's course: build a model, learn weighted criteria from labelled pairs, train on their scores, report.

Owns the order and the files in the output folder; each chapter lives in its own module. What was interrupted goes on
where it stopped, but for pre-training, which is done whole or not at all.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from arr.demo.ground_truth import GroundTruth, ensure_ground_truth
from arr.demo.outcome import read_outcome
from arr.demo.shapes import PROMPTS, TRAIN_PROMPTS
from arr.demo.stages import Progress
from arr.demo.tiny_sd3 import ensure_tiny_sd3
from arr.reports.learning import write_learning_report
from arr.service_process import running_service
from examples.autorubric_t2i.gains import gains_of, targets_of
from examples.autorubric_t2i.learning import ALIAS, NAME, LearnedSet, learn_set
from examples.autorubric_t2i.report import Finished, write_example_report
from shared_schemas.reward import JudgeIdentity
from trainer.config import TrainConfig, load_config
from trainer.export import RubricText, export_run
from trainer.monitors import Monitor
from trainer.train import train

RECIPE = Path(__file__).with_name("recipe.toml")

TIE_SHARE = 0.02
"""Scores that differ by less of the highest score are a tie in evaluations: the pictures look the same."""

SMOKE_OVERRIDES = (
    "steps=4",
    "evaluation.every=2",
    "evaluation.images_per_prompt=2",
    "rollout.prompts_per_step=4",
    "rollout.candidates=3",
)
"""A run of seconds that goes through every room but learns nothing worth showing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the command line asks for."""

    output: Path
    """Where results go."""
    cache: Path
    """Where the pre-trained model is kept from one run to the next."""
    seed: int = 0
    """Of training alone: the model it starts from and the rubric set are always the same."""
    overrides: tuple[str, ...] = ()
    """Changes to the recipe, `section.key=value`."""


def run_example(
    settings: Settings, *, stage: Progress, monitor: Monitor, announce: Callable[[str], None], stop: Event
) -> Finished | None:
    """Everything; returns None when it was asked to stop (the same call goes on).

    Raises `TrainerError`, `RewardClientError`, `LearningFailedError` or `ServiceDidNotStartError` when a chapter cannot
    be finished.
    """
    example_config(settings, model=Path("built below"), url="http://127.0.0.1", tie_score=0.0)  # mistakes show now

    def stage_unless_stopped(name: str, done: int, total: int) -> None:
        stage(name, done, total)
        if stop.is_set():
            raise _StoppedError

    try:
        model = ensure_tiny_sd3(settings.cache, progress=stage_unless_stopped)
        truth = ensure_ground_truth(settings.cache, progress=stage_unless_stopped)
        with running_service(settings.output / "service", log=settings.output / "service.log") as service:
            announce(f"reward service: {service.url} (its log: {service.log})")
            learned = learn_set(service.url, progress=stage_unless_stopped)
            announce(learned.summary)
            tie_score = TIE_SHARE * learned.total_weight
            config = example_config(settings, model=model, url=service.url, tie_score=tie_score)
            trained = train(config, monitors=[monitor], should_stop=stop.is_set, announce=announce)
    except _StoppedError:
        return None
    return _finish(settings, config, learned, trained.pinned.judge, truth) if trained.is_complete else None


def example_config(settings: Settings, *, model: Path, url: str, tie_score: float) -> TrainConfig:
    """The recipe with this run's own values, and the prompt files it names. Raises `ConfigError`."""
    folder = settings.output / "prompts"
    folder.mkdir(parents=True, exist_ok=True)
    for name, prompts in (("train", TRAIN_PROMPTS), ("all", PROMPTS)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    values: dict[str, str | float] = {
        "output_dir": str(settings.output / "run"),
        "seed": settings.seed,
        "model.path": str(model),
        "data.prompts": str(folder / "train.jsonl"),
        "evaluation.prompts": str(folder / "all.jsonl"),
        "reward.url": url,
        "reward.rubric": f"{NAME}@{ALIAS}",
        "reward.tie_score": tie_score,
    }
    return load_config(RECIPE, [*(f"{key}={json.dumps(value)}" for key, value in values.items()), *settings.overrides])


def forget_finished_run(output: Path) -> None:
    """A report stands at the end: where there is one, the next run starts anew."""
    if (output / "report.html").exists():
        for name in ("run", "service"):
            shutil.rmtree(output / name, ignore_errors=True)
        (output / "report.html").unlink()


def _finish(
    settings: Settings, config: TrainConfig, learned: LearnedSet, judge: JudgeIdentity, truth: GroundTruth
) -> Finished:
    version, output = learned.version, settings.output
    text = RubricText(reference=f"{version.name}@{version.version}", content=version.content)
    export_run(config, output / "adapter", rubric=text)
    write_learning_report(output / "learned", learned.job, learned.result, rubric=version)
    metrics = output / "metrics.jsonl"
    shutil.copyfile(config.output_dir / "metrics.jsonl", metrics)
    outcome = read_outcome(config, metrics=metrics, truth=truth, prompts=PROMPTS)
    gains = gains_of(outcome, total_weight=learned.total_weight)
    finished = Finished(
        config=config,
        learned=learned,
        judge=judge,
        outcome=outcome,
        gains=gains,
        targets=targets_of(outcome, gains),
    )
    write_example_report(output, finished)
    return finished


class _StoppedError(Exception):
    """The example was asked to stop while it built or learned something."""
