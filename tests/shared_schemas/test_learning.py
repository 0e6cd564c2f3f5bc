"""A learning request names a method and takes the parameters of that method alone."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared_schemas.autorubric import AutoRubricParameters, BucketMix
from shared_schemas.learning import PARAMETERS, ArrParameters, LearnRequest, Method
from shared_schemas.rubrics import Mode


def test_without_a_method_it_is_arr() -> None:
    assert LearnRequest(dataset=1) == LearnRequest(dataset=1, method=Method.ARR, parameters=ArrParameters())


@pytest.mark.parametrize("method", Method)
def test_without_parameters_it_takes_those_of_its_method(method: Method) -> None:
    assert LearnRequest(dataset=1, method=method).parameters == PARAMETERS[method]()
    assert LearnRequest.model_validate({"dataset": 1, "method": method.value, "parameters": {}}).parameters == (
        PARAMETERS[method]()
    )


@pytest.mark.parametrize("method", Method)
def test_what_is_written_is_read_again(method: Method) -> None:
    request = LearnRequest(dataset=1, method=method, seed=3)
    assert LearnRequest.model_validate_json(request.model_dump_json()) == request


def refusals(values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with pytest.raises(ValidationError) as caught:
        LearnRequest.model_validate({"dataset": 1, **values})
    return [error["loc"] for error in caught.value.errors()]


def test_a_mistake_is_named_by_its_place_without_the_other_method() -> None:
    assert refusals({"parameters": {"max_criteria": 0}}) == [("parameters", "max_criteria")]
    assert refusals({"method": "autorubric_t2i", "parameters": {"max_themes": 3}}) == [("parameters", "max_themes")]
    assert refusals({"parameters": {"seed_pairs": 3}}) == [("parameters", "seed_pairs")]
    assert refusals({"parameters": AutoRubricParameters()}) == [("parameters",)]
    assert refusals({"parameters": 3}) == [("parameters",)]


def test_an_unknown_method_is_the_first_thing_that_is_said() -> None:
    assert refusals({"method": "magic", "parameters": {"max_themes": 3}}) == [("method",)]
    assert refusals({"method": "magic"})[0] == ("method",)


def test_the_weighted_method_scores_single_images() -> None:
    assert LearnRequest(dataset=1, method=Method.AUTORUBRIC_T2I).mode is Mode.POINTWISE
    assert LearnRequest(dataset=1).mode is Mode.PAIRWISE


def test_a_mix_is_a_whole_and_a_grid_ascends() -> None:
    with pytest.raises(ValidationError, match="must sum to 1"):
        BucketMix(small_margin=0.5, large_margin=0.5, high_reward=0.5)
    with pytest.raises(ValidationError, match="c_lowest must be below c_highest"):
        AutoRubricParameters(c_lowest=1, c_highest=1)
