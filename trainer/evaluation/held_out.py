"""The held-out judge: another rubric set, another service, or both, asked about the same pairs and never trained on."""

from trainer.config import TrainConfig
from trainer.distributed import Runtime
from trainer.errors import ConfigError
from trainer.rewards import RewardSource


def open_held_out_judge(
    config: TrainConfig, training: RewardSource, *, run_id: str, runtime: Runtime
) -> RewardSource | None:
    """Connect to it and pin it for this start of the run; None when the recipe has none.

    Raises `ConfigError` when it cannot be reached, or is the training judge under the same rubric: those never part.
    """
    reward = config.held_out_reward()
    if reward is None:
        return None
    try:
        source = RewardSource(
            reward,
            run_id=run_id,
            num_threads=config.rollout.micro_batches,
            task=config.model.task,
            runtime=runtime,
        )
    except ConfigError as error:
        raise ConfigError(f"the held-out judge: {error}") from error
    pinned, trained_on = source.pinned, training.pinned
    if (pinned.rubric.digest, pinned.judge.fingerprint) == (trained_on.rubric.digest, trained_on.judge.fingerprint):
        raise ConfigError(
            f"the held-out judge is the training judge ({pinned.judge.model}, {pinned.rubric.reference}); give it "
            "another rubric set or service (evaluation.held_out_rubric, evaluation.held_out_url)"
        )
    return source
