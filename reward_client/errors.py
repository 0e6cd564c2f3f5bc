"""What a call can raise.

RewardClientError
├── RequestRejected      the service refused the request (4xx); `.problem` says why, repeating it cannot help:
│                        `.problem.slug` tells a key that is wrong (`unauthenticated`) or lacks a scope (`forbidden`)
│                        from a payload that is
├── ServiceUnavailable   no answer within the attempts and the deadline, or a broken server; repeating it later may help
└── ProtocolError        an answer that this client does not understand

A group that could not be judged is none of these: it is a result with `status = failed`.
"""

from shared_schemas.problems import Problem


class RewardClientError(Exception):
    """Base of everything a client raises for a call that did not succeed."""


class RequestRejected(RewardClientError):  # noqa: N818 - reads as what happened
    """The service refused the request; the same request will be refused again."""

    def __init__(self, problem: Problem) -> None:
        parts = [problem.detail, *(f"{error.where}: {error.message}" for error in problem.errors)]
        said_once = "; ".join(dict.fromkeys(parts))  # the detail of a problem with one error may be that error
        super().__init__(f"{problem.status} {problem.slug}: {said_once}")
        self.problem = problem


class ServiceUnavailable(RewardClientError):  # noqa: N818 - reads as what happened
    """The service did not answer in time, or could not; `.problem` is its last word, if there was one."""

    def __init__(self, message: str, *, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class ProtocolError(RewardClientError):
    """The answer is not what this client understands: wrong address, or versions too far apart."""
