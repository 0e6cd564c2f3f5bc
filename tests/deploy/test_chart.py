"""The Helm chart by Helm's and Kubernetes' own rules; every value is described, used and checked."""

import json
import re
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from services.reward_api.settings import ENV_PREFIX, Settings
from tests.deploy.chart_values import CHART, documented_values, read_values, value_at
from tests.deploy.rendering import (
    EVERYTHING,
    OTHERWISE,
    SECRET,
    HelmError,
    Resource,
    environment,
    find,
    lint,
    notes,
    pods,
    render,
)

OLDEST_KUBERNETES = "1.27"
NEWEST_KUBERNETES = "1.37"

SETTINGS = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("values", [SECRET, EVERYTHING, OTHERWISE], ids=["defaults", "everything", "otherwise"])
def test_helm_lint_finds_nothing_but_the_missing_icon(values: dict[str, Any]) -> None:
    report = lint(values)
    assert {message["error"] for message in report["messages"]} == {"icon is recommended"}


@pytest.mark.parametrize("version", [OLDEST_KUBERNETES, NEWEST_KUBERNETES])
@pytest.mark.parametrize("values", [SECRET, EVERYTHING, OTHERWISE], ids=["defaults", "everything", "otherwise"])
def test_kubernetes_knows_every_field(values: dict[str, Any], version: str) -> None:
    for resource in render(values):
        if resource["kind"] != "ServiceMonitor":  # the Prometheus operator's
            kubernetes_validate.validate(resource, version, strict=True)


def test_the_check_sees_a_field_that_kubernetes_does_not_know(everything: list[Resource]) -> None:
    wrong = json.loads(json.dumps(find(everything, "Deployment", "-api")))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST_KUBERNETES, strict=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"existingSecret: name a Secret with keys\.json"),
        (SECRET | {"judge": {"kind": "external"}}, r"judge\.urls: name at least one"),
        (SECRET | {"ingress": {"enabled": True}}, r"ingress\.host: under which name"),
        (SECRET | {"settings": {"ARR_TIE_MARGN": 0.1}}, r"ARR_TIE_MARGN"),
        (SECRET | {"settings": {"ARR_DATABASE_URL": "sqlite+aiosqlite:///arr.db"}}, r"ARR_DATABASE_URL"),
        (SECRET | {"replicas": 3}, r"replicas"),
        (SECRET | {"judge": {"kind": "pixels"}}, r"judge/kind|judge\.kind"),
    ],
)
def test_a_mistake_is_named_before_anything_is_installed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError, match=message):
        render(values)


def test_every_value_is_described_and_every_row_of_the_readme_is_so() -> None:
    values = documented_values()
    assert {value.path for value in values} == set(_leaves(read_values()))
    rows = [
        line for line in (CHART / "README.md").read_text().splitlines() if re.match(r"\| `[a-z]\w*(\.\w+)*` \| ", line)
    ]
    table = rows[-len(values) :]
    assert table == [value.row for value in values]


def _leaves(values: dict[str, Any], path: str = "") -> list[str]:
    """Paths of what is set as a whole: what stands below `resources` and the like is Kubernetes' business."""
    described = {value.path for value in documented_values()}
    found = []
    for name, value in values.items():
        here = f"{path}{name}"
        found += [here] if here in described or not isinstance(value, dict) else _leaves(value, f"{here}.")
    return found


def test_every_value_is_used_and_every_value_that_is_used_exists() -> None:
    text = "\n".join(file.read_text() for file in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values\.([\w.]+)", text))
    for path in used:
        value_at(path.split("."))  # raises where there is none
    assert used == {value.path for value in documented_values()}


def test_the_schema_takes_every_setting_that_the_chart_does_not_decide(everything: list[Resource]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    taken = set(schema["properties"]["settings"]["propertyNames"]["enum"])
    decided = {name for name in environment(pods(everything)["api"]) if name.startswith(ENV_PREFIX)}
    assert taken | decided == SETTINGS
    assert taken & decided == set()


def test_the_schema_knows_exactly_the_values_that_there_are() -> None:
    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        assert set(schema["properties"]) - {"global"} == set(values), path
        assert schema["additionalProperties"] is False
        for name, value in values.items():
            if "properties" in schema["properties"][name]:
                compare(schema["properties"][name], value, f"{path}.{name}")

    compare(json.loads((CHART / "values.schema.json").read_text()), read_values(), "values")


@pytest.mark.parametrize(
    ("value", "text"), [(1048576, "1048576"), (0.1, "0.1"), (True, "true"), ("all", "all"), (4096.0, "4096")]
)
def test_a_setting_reaches_the_processes_as_it_was_written(value: object, text: str) -> None:
    found = pods(render(SECRET | {"settings": {"ARR_JUDGE_MAX_PIXELS": value}}))
    for component in ("api", "worker"):
        assert environment(found[component])["ARR_JUDGE_MAX_PIXELS"]["value"] == text


def test_the_notes_say_where_the_service_is() -> None:
    assert "https://rewards.example.com." in notes(EVERYTHING)
    assert "http://rewards-rubric-reward-api.images:8080" in notes(OTHERWISE)
    assert "has no taste" in notes(OTHERWISE)
