"""The dashboard asks for metrics that are really counted, by labels that they really have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.reward_api.app import create_app
from services.reward_api.metrics import Metrics
from services.reward_api.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/grafana"

METRIC = re.compile(r"\b(?:arr_|vllm:)[a-z_]+")
BY = re.compile(r"by \(([^)]*)\)")
SELECTED = re.compile(r"\{([a-z_]+)=\"")
SHOWN = re.compile(r"\{\{(\w+)\}\}")

OF_PROMETHEUS = {"instance", "job", "le"}
"""Labels that Prometheus adds, and that of histograms."""

OF_VLLM_ALONE = {"vllm:kv_cache_usage_perc"}
"""Metrics of vLLM that the pixel judge has not: looked up in vLLM 0.32."""


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    """All panels but the headings."""
    dashboard = json.loads((FOLDER / "dashboards/rubric-reward.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="module")
def expressions(panels: list[dict[str, Any]]) -> list[str]:
    """Everything that is asked of Prometheus."""
    return [target["expr"] for panel in panels for target in panel["targets"]]


def names_in(text: str) -> set[str]:
    """Names that may stand in a query: those of the samples, for histograms and summaries, too."""
    found = set()
    for line in re.findall(r"^# TYPE (\S+ \S+)", text, flags=re.MULTILINE):
        name, kind = line.split()
        more = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}.get(kind, ("",))
        found |= {name + end for end in more}
    return found


@pytest.fixture(scope="module")
def counted() -> set[str]:
    """Names of what the service and a judge count."""
    with TestClient(create_pixel_judge_app(PixelJudgeSettings())) as judge:
        return names_in(Metrics().exposition().decode()) | names_in(judge.get("/metrics").text)


def test_every_metric_is_counted(expressions: list[str], counted: set[str]) -> None:
    named = {name for expression in expressions for name in METRIC.findall(expression)}
    assert named - counted == OF_VLLM_ALONE


def test_what_the_service_is_for_is_on_the_dashboard(expressions: list[str]) -> None:
    text = " ".join(expressions)
    for wanted in (
        *("arr_groups_total", "arr_group_failures_total", 'arr_http_request_seconds_bucket{route="/reward"}'),
        *("quantile(0.5,", "quantile(0.99,", 'arr_answers_total{source="cache"}', "arr_judge_queued_calls"),
        *("arr_judge_queue_seconds_bucket", "arr_judge_replica_up", "arr_redis_up"),
    ):
        assert wanted in text


def test_every_label_is_one_that_its_metric_has(panels: list[dict[str, Any]]) -> None:
    labels = _labels_of_metrics()
    for panel in panels:
        for target in panel["targets"]:
            for name in METRIC.findall(target["expr"]):
                known = labels.get(re.sub(r"_(total|bucket|sum|count)$", "", name), set()) | OF_PROMETHEUS
                grouped = {label.strip() for group in BY.findall(target["expr"]) for label in group.split(",")}
                used = grouped | set(SELECTED.findall(target["expr"])) | set(SHOWN.findall(target["legendFormat"]))
                assert used <= known, f"{panel['title']}: {used - known}"


def _labels_of_metrics() -> dict[str, set[str]]:
    """Names of the labels of each of our metrics, by its name without an ending; from the guide, which is complete."""
    rows = re.findall(r"^\| `(arr_\w+)` \|([^|]*)\|", (ROOT / "docs/api.md").read_text(), flags=re.MULTILINE)
    return {re.sub(r"_total$", "", name): set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


async def test_the_labels_in_the_guide_are_those_that_are_counted() -> None:
    metrics = Metrics()
    metrics.observe_request(method="POST", route="/reward", status="200", seconds=0.1)
    metrics.judge.call_ended(replica="judge:8000", seconds=0.1, failure=None)
    metrics.judge.tokens_spent(prompt=1, completion=1)
    documented = _labels_of_metrics()
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in () if family.name.endswith("_created") else family.samples:
            assert set(sample.labels) - OF_PROMETHEUS <= documented[family.name], family.name


def test_the_route_that_is_looked_at_exists(expressions: list[str]) -> None:
    routes = {route for expression in expressions for route in re.findall(r'route="([^"]+)"', expression)}
    assert routes
    assert routes <= set(create_app(Settings()).openapi()["paths"])


def test_panels_do_not_overlap_and_are_named(panels: list[dict[str, Any]]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_grafana_finds_the_dashboard_and_prometheus_where_compose_puts_them(compose: dict[str, Any]) -> None:
    mounted = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    provider = yaml.safe_load((FOLDER / "provisioning/dashboards/rubric-reward.yml").read_text())["providers"][0]
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    source = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
    dashboard = json.loads((FOLDER / "dashboards/rubric-reward.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel} == {source["uid"]}
