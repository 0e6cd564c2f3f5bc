"""The chart as Helm renders it, and how to find one's way in what it makes."""

import os
from typing import Any

import pytest
import yaml

from tests.deploy.chart_values import CHART

try:
    import helm_python as helm
except ImportError:  # no wheel for this kind of machine
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("Helm is not installed: the extra `deploy` has it where there is a wheel", allow_module_level=True)

HelmError = helm.HelmError

SECRET = {"existingSecret": "rubric-reward"}
EVERYTHING: dict[str, Any] = SECRET | {
    "judge": {"kind": "vllm", "replicas": 2},
    "postgres": {"enabled": True},
    "ingress": {"enabled": True, "host": "rewards.example.com", "tlsSecret": "tls"},
    "networkPolicy": {"allowFrom": [{"namespaceSelector": {"matchLabels": {"team": "training"}}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
}
OTHERWISE = SECRET | {
    "judge": {"kind": "pixel"},
    "api": {"autoscaling": {"enabled": False}},
    "redis": {"enabled": False},
    "data": {"existingClaim": "images"},
    "networkPolicy": {"enabled": False},
    "image": {"registry": "registry.example.com/", "tag": "1.2.3", "pullSecrets": [{"name": "pull"}]},
}

Resource = dict[str, Any]


def render(values: dict[str, Any]) -> list[Resource]:
    """What `helm install rewards` would send to the cluster."""
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values, name="rewards", namespace="images")
    documents = [yaml.safe_load_all(text) for name, text in texts.items() if not name.endswith("NOTES.txt")]
    return [resource for found in documents for resource in found if resource]


def lint(values: dict[str, Any]) -> dict[str, Any]:
    """What `helm lint --strict` reports."""
    return helm.lint(CHART, values, strict=True)


def notes(values: dict[str, Any]) -> str:
    """What it would say to people."""
    with helm.Chart.load(CHART) as chart:
        return chart.render(values, name="rewards", namespace="images")["rubric-reward/templates/NOTES.txt"]


def find(resources: list[Resource], kind: str, name: str) -> Resource:
    """The one resource of a kind by what follows the release in its name."""
    (found,) = [
        resource
        for resource in resources
        if resource["kind"] == kind and resource["metadata"]["name"] == f"rewards-rubric-reward{name}"
    ]
    return found


def pods(resources: list[Resource]) -> dict[str, Resource]:
    """Pod templates by component."""
    found = [resource["spec"]["template"] for resource in resources if "template" in resource.get("spec", {})]
    return {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod for pod in found}


def container(pod: Resource) -> Resource:
    """The only container of a pod."""
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(pod: Resource) -> dict[str, Resource]:
    """Variables of its container by name."""
    return {variable["name"]: variable for variable in container(pod)["env"]}
