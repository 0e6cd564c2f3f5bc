"""What can stop a training run.

TrainerError
├── ConfigError         the recipe or its files are wrong; nothing was loaded
├── SelfCheckError      step 0 found a number that is off
├── RewardsUnavailable  the service could not reward a step; the run is saved and can be resumed
├── TrainingDiverged    a loss or gradient is not finite; the optimizer did not step
└── JudgesParted        the training judge sees progress that the held-out one does not; the run is saved
"""


class TrainerError(Exception):
    """Base of all; the message is for the person who started the run."""


class ConfigError(TrainerError):
    """The recipe or its files are wrong; the message says what to change."""


class SelfCheckError(TrainerError):
    """A check at step 0 failed; the message holds the number that is off."""


class RewardsUnavailable(TrainerError):  # noqa: N818 - reads as what happened
    """Too few groups of a step were judged, or the service or its rubric changed under the run."""


class TrainingDiverged(TrainerError):  # noqa: N818 - reads as what happened
    """A loss, a gradient or an image is not finite; the optimizer did not step."""


class JudgesParted(TrainerError):  # noqa: N818 - reads as what happened
    """The alarm rang, and the recipe wants it to stop the run."""
