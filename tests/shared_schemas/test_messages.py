import pytest
from pydantic import BaseModel, ValidationError, model_validator

from shared_schemas.messages import first_refusal, in_one_line


class Inner(BaseModel):
    size: int


class Outer(BaseModel):
    inner: list[Inner]

    @model_validator(mode="after")
    def _not_empty(self) -> "Outer":
        if not self.inner:
            raise ValueError("holds nothing")
        return self


def _refusal_of(value: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    return caught.value


def test_the_first_error_is_told_with_its_place() -> None:
    error = _refusal_of({"inner": [{"size": 1}, {"size": "big"}, {}]})
    assert first_refusal(error)[0] == ("inner", "1", "size")
    assert in_one_line(error).startswith("inner.1.size: Input should be a valid integer")


def test_an_error_of_the_whole_has_the_name_it_is_given() -> None:
    error = _refusal_of({"inner": []})
    assert in_one_line(error) == "holds nothing"
    assert in_one_line(error, whole="the file") == "the file: holds nothing"
