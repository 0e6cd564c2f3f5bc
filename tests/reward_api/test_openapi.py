from collections.abc import Iterator
from typing import Any

import pytest

from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from shared_schemas.problems import PROBLEM_MEDIA_TYPE


@pytest.fixture
def document(tmp_path) -> dict[str, Any]:
    return create_app(Settings(data_dir=tmp_path)).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


def test_every_operation_documents_its_problems_and_says_what_it_does(document) -> None:
    for name, operation in operations(document):
        kinds = {kind for answer in operation["responses"].values() for kind in answer.get("content", {})}
        assert PROBLEM_MEDIA_TYPE in kinds, name
        assert operation["description"], name


def test_no_operation_documents_the_frameworks_own_error_shape(document) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_reference_leads_somewhere(document) -> None:
    found = set(references(document))
    assert "#/components/schemas/Problem" in found
    for reference in found:
        assert reference.rpartition("/")[2] in document["components"]["schemas"], reference


def test_the_reward_body_is_described_part_by_part(document) -> None:
    body = document["paths"]["/reward"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert body["schema"]["properties"]["meta"] == {"$ref": "#/components/schemas/RewardRequest"}
    assert body["schema"]["additionalProperties"]["format"] == "binary"
    assert body["encoding"]["meta"]["contentType"] == "application/json"


def test_the_reward_body_may_also_be_one_json_object(document) -> None:
    operation = document["paths"]["/reward"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    fields = document["components"]["schemas"]["RewardRequest"]
    assert set(schema["properties"]) == {*fields["properties"], "images"}
    assert set(schema["required"]) == {"rubric", "groups", "images"}
    assert schema["additionalProperties"] is False


def test_the_answer_may_be_json_or_tensors(document) -> None:
    answer = document["paths"]["/reward"]["post"]["responses"]["200"]["content"]
    assert answer["application/json"]["schema"] == {"$ref": "#/components/schemas/RewardResponse"}
    assert answer["application/vnd.safetensors"]["schema"]["format"] == "binary"


async def test_the_document_and_its_page_are_served(service, document) -> None:
    assert (await service.get("/openapi.json")).json() == document
    assert (await service.get("/docs")).status_code == 200
