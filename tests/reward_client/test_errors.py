import pytest

from reward_client import CandidateGroup, RequestRejected
from reward_client.requests import RewardOptions, prepare_reward
from shared_schemas.problems import FieldError, Problem
from shared_schemas.rubrics import RubricIdentity

PNG = b"\x89PNG\r\n\x1a\n"
GROUP = CandidateGroup("a", [PNG, PNG])


def _rejected(detail: str, *errors: FieldError) -> str:
    problem = Problem(type="/problems/task-mismatch", title="Task mismatch", status=422, detail=detail, errors=errors)
    return str(RequestRejected(problem))


def test_every_field_at_fault_is_named_after_the_detail() -> None:
    errors = (FieldError(where="meta.a", message="is missing"), FieldError(where="meta.b", message="is too long"))
    said = _rejected("the request does not validate", *errors)
    assert said == "422 task-mismatch: the request does not validate; meta.a: is missing; meta.b: is too long"


def test_a_detail_that_is_its_only_field_error_is_said_once() -> None:
    said = _rejected("meta.groups.0.source: is needed", FieldError(where="meta.groups.0.source", message="is needed"))
    assert said == "422 task-mismatch: meta.groups.0.source: is needed"


def test_an_option_that_cannot_be_sent_is_told_in_one_line() -> None:
    options = RewardOptions(rubric="shapes", tie_margin=-1.0)
    with pytest.raises(ValueError, match=r"^tie_margin: Input should be greater than or equal to 0$"):
        prepare_reward([GROUP], options)


def test_an_identity_without_a_name_is_refused_with_what_to_pass_instead() -> None:
    nameless = RubricIdentity(name=None, version=None, digest=f"sha256:{'0' * 64}")
    with pytest.raises(ValueError, match="pass its content"):
        prepare_reward([GROUP], RewardOptions(rubric=nameless))
