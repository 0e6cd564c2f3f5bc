"""What storage refuses.

StorageError
├── UnknownRubricError   no such rubric set, version or alias
├── AliasChangedError    the alias is not where the caller believed it was
├── ArchivedAliasError   an alias and an archived version would come together
└── StaleWorkerError     the job is another worker's now, or nobody's
"""


class StorageError(Exception):
    """Base of every refusal; the message is a sentence for the caller."""


class UnknownRubricError(StorageError):
    """No such rubric set, version or alias."""


class AliasChangedError(StorageError):
    """A compare-and-set lost: the alias is not where the caller believed it was."""


class ArchivedAliasError(StorageError):
    """An alias would point at an archived version."""


class StaleWorkerError(StorageError):
    """A worker wrote about a job that is not its own any more: its lease lapsed, or the job became final."""
