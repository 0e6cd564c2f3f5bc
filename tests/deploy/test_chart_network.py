"""Who reaches whom in the chart: services, policies, the ingress, Prometheus, and what scales the API."""

from services.reward_api.settings import Settings
from tests.deploy.chart_values import value_at
from tests.deploy.rendering import (
    EVERYTHING,
    SECRET,
    Resource,
    container,
    find,
    pods,
    render,
)


def test_services_policies_and_budgets_select_the_pods_that_they_are_for(everything: list[Resource]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(everything).items()}
    selecting = 0
    for resource in everything:
        spec = resource.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector") or {}
        selector = selector.get("matchLabels", selector)
        if selector and resource["kind"] != "ServiceMonitor":
            component = resource["metadata"]["labels"]["app.kubernetes.io/component"]
            chosen = [name for name, found in labels.items() if selector.items() <= found.items()]
            assert chosen == [component], resource["metadata"]["name"]
            selecting += 1
    assert selecting > 10


def test_every_pod_is_behind_a_policy_and_opens_its_own_port_only(everything: list[Resource]) -> None:
    policies = {
        resource["metadata"]["labels"]["app.kubernetes.io/component"]: resource["spec"]
        for resource in everything
        if resource["kind"] == "NetworkPolicy"
    }
    assert set(policies) == set(pods(everything))
    for component, policy in policies.items():
        opened = [port["port"] for rule in policy.get("ingress", []) for port in rule["ports"]]
        listening = [port["containerPort"] for port in container(pods(everything)[component]).get("ports", [])]
        assert opened == listening, component
    assert policies["api"]["ingress"][0]["from"] == EVERYTHING["networkPolicy"]["allowFrom"]
    assert "from" not in find(render(SECRET), "NetworkPolicy", "-api")["spec"]["ingress"][0]


def test_what_the_service_takes_the_ingress_lets_through(everything: list[Resource]) -> None:
    annotations = find(everything, "Ingress", "")["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/proxy"
    mebibytes = int(annotations[f"{prefix}-body-size"].removesuffix("m"))
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert mebibytes >= max(defaults["max_body_mb"], defaults["max_dataset_mb"])
    assert int(annotations[f"{prefix}-read-timeout"]) >= defaults["deadline_seconds"]
    assert annotations[f"{prefix}-request-buffering"] == annotations[f"{prefix}-buffering"] == "off"


def test_prometheus_is_told_of_the_metrics_with_a_key_for_them(
    everything: list[Resource], answered_paths: dict[int, set[str]]
) -> None:
    monitor = find(everything, "ServiceMonitor", "-api")
    (endpoint,) = monitor["spec"]["endpoints"]
    service = find(everything, "Service", "-api")
    assert endpoint["path"] in answered_paths[service["spec"]["ports"][0]["port"]]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["authorization"]["credentials"] == {"name": "rubric-reward", "key": "metrics-token"}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_the_number_of_api_pods_is_the_scalers_or_the_values(
    everything: list[Resource], otherwise: list[Resource]
) -> None:
    scaler = find(everything, "HorizontalPodAutoscaler", "-api")
    assert scaler["spec"]["scaleTargetRef"]["name"] == find(everything, "Deployment", "-api")["metadata"]["name"]
    assert "replicas" not in find(everything, "Deployment", "-api")["spec"]
    assert find(otherwise, "Deployment", "-api")["spec"]["replicas"] == value_at(["api", "replicas"])
    assert "HorizontalPodAutoscaler" not in {resource["kind"] for resource in otherwise}
