"""What can stop a training run.

TrainerError
├── ConfigError         the recipe or its files are wrong; nothing was loaded
├── SelfCheckError      step 0 found a number that is off
├── RewardsUnavailable  the service could not reward a step; the run is saved and can be resumed
├── TrainingDiverged    a loss, a gradient, the adapter or an image is not finite; starting again comes to the same
├── JudgesParted        the training judge sees progress that the held-out one does not; the run is saved
├── OutOfMemory         a process found no memory for its part; the run is where its last checkpoint is
└── FailedElsewhere     another process failed, and says why
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
    """A loss, a gradient, the adapter or an image is not finite; with the same recipe it would be so again."""


class JudgesParted(TrainerError):  # noqa: N818 - reads as what happened
    """The alarm rang, and the recipe wants it to stop the run."""


class OutOfMemory(TrainerError):  # noqa: N818 - reads as what happened
    """This process found no memory for its part; the message says what to turn down. Others get `FailedElsewhere`."""


class FailedElsewhere(TrainerError):  # noqa: N818 - reads as what happened
    """This process ended because another one did, which says why. Nothing to be said here."""
