"""What the chart's pods run is what our processes are: commands, settings, probes, secrets, time to stop."""

import re
from datetime import timedelta
from typing import Any

import yaml

from arr.listening import LAST_ANSWERS
from services.reward_api.settings import ENV_PREFIX, Settings
from tests.deploy.chart_values import CHART
from tests.deploy.commands import read_command
from tests.deploy.rendering import (
    SECRET,
    Resource,
    container,
    environment,
    find,
    pods,
    render,
)


def test_pods_run_commands_of_ours(
    everything: list[Resource], otherwise: list[Resource], compose: dict[str, Any]
) -> None:
    called = {name: container(pod).get("args", []) for name, pod in (pods(everything) | pods(otherwise)).items()}
    assert [read_command(called[name]) for name in ("api", "worker", "judge")] == ["serve", "worker", "pixel-judge"]
    assert called["worker"] == compose["services"]["rubric-worker"]["command"]
    redis = container(pods(everything)["redis"])
    assert redis["args"] == compose["services"]["redis"]["command"]


def test_vllm_is_started_as_in_the_compose_file(everything: list[Resource], compose: dict[str, Any]) -> None:
    judge = container(pods(everything)["judge"])
    assert judge["args"] == compose["services"]["judge-gpu"]["command"]
    assert judge["image"] == compose["services"]["judge-gpu"]["image"]


def test_stores_are_the_images_of_the_compose_file(everything: list[Resource], compose: dict[str, Any]) -> None:
    for name in ("postgres", "redis"):
        assert container(pods(everything)[name])["image"] == compose["services"][name]["image"]


def test_probes_ask_what_the_processes_answer(
    everything: list[Resource], otherwise: list[Resource], answered_paths: dict[int, set[str]]
) -> None:
    for resources in (everything, otherwise):
        for component in ("api", "judge"):
            found = container(pods(resources)[component])
            (port,) = found["ports"]
            probes = [found[name] for name in found if name.endswith("Probe")]
            assert probes
            for probe in probes:
                assert probe["httpGet"]["port"] == port["name"]
                assert probe["httpGet"]["path"] in answered_paths[port["containerPort"]]


def test_a_worker_is_probed_like_its_image(everything: list[Resource], compose: dict[str, Any]) -> None:
    probe = container(pods(everything)["worker"])["livenessProbe"]["exec"]["command"]
    assert probe == ["/bin/sh", "-c", compose["services"]["rubric-worker"]["healthcheck"]["test"][1]]


def test_a_pod_is_killed_only_after_its_last_answers(everything: list[Resource]) -> None:
    pod = pods(everything)["api"]
    drain = timedelta(seconds=float(environment(pod)["ARR_DRAIN_SECONDS"]["value"]))
    assert timedelta(seconds=pod["spec"]["terminationGracePeriodSeconds"]) > drain + LAST_ANSWERS
    probe = container(pod)["readinessProbe"]
    assert drain.total_seconds() >= probe["periodSeconds"] * probe["failureThreshold"]
    longer = pods(render(SECRET | {"api": {"drainSeconds": 100}}))["api"]
    assert longer["spec"]["terminationGracePeriodSeconds"] == pod["spec"]["terminationGracePeriodSeconds"] + 90


def test_every_judge_has_an_address_of_its_own(everything: list[Resource]) -> None:
    urls = environment(pods(everything)["api"])["ARR_JUDGE_URLS"]["value"].split(",")
    judge = find(everything, "StatefulSet", "-judge")
    name, service = judge["metadata"]["name"], judge["spec"]["serviceName"]
    assert urls == [f"http://{name}-{number}.{service}:8000/v1" for number in range(judge["spec"]["replicas"])]
    assert find(everything, "Service", "-judge")["spec"]["clusterIP"] == "None"
    external = render(SECRET | {"judge": {"kind": "external", "urls": ["http://a:8000/v1", "http://b:8000/v1"]}})
    assert environment(pods(external)["worker"])["ARR_JUDGE_URLS"]["value"] == "http://a:8000/v1,http://b:8000/v1"
    assert "judge" not in pods(external)


def test_what_the_processes_are_told_can_be_served(everything: list[Resource]) -> None:
    told = {name: variable.get("value") for name, variable in environment(pods(everything)["api"]).items()}
    values = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in told.items() if value is not None}
    settings = Settings.model_validate(values)
    assert settings.worker == "none"
    assert len(settings.judge_urls) == 2


def test_secrets_come_from_the_secret_by_keys_that_the_readme_names(
    everything: list[Resource], otherwise: list[Resource]
) -> None:
    named = set(re.findall(r"`([a-z.-]+)`", (CHART / "README.md").read_text()))
    for resources in (everything, otherwise):
        for pod in pods(resources).values():
            for variable in container(pod).get("env", []):
                if "valueFrom" in variable:
                    reference = variable["valueFrom"]["secretKeyRef"]
                    assert reference["name"] == "rubric-reward"
                    assert reference["key"] in named
                else:
                    assert not re.search(r"PASSWORD|TOKEN|_KEY$", variable["name"])
    assert "Secret" not in {resource["kind"] for resource in everything}


def test_without_a_database_of_its_own_the_url_is_needed_and_without_a_redis_it_is_not(
    otherwise: list[Resource],
) -> None:
    variables = environment(pods(otherwise)["api"])
    assert "optional" not in variables["ARR_DATABASE_URL"]["valueFrom"]["secretKeyRef"]
    assert variables["ARR_REDIS_URL"]["valueFrom"]["secretKeyRef"]["optional"] is True


def test_the_key_file_is_open_to_nobody_but_the_service(everything: list[Resource]) -> None:
    pod = pods(everything)["api"]
    (keys,) = [volume["secret"] for volume in pod["spec"]["volumes"] if volume["name"] == "keys"]
    (mount,) = [mount for mount in container(pod)["volumeMounts"] if mount["name"] == "keys"]
    assert keys["defaultMode"] == 0o440  # `check_private` refuses what others can read
    assert environment(pod)["ARR_API_KEYS"]["value"] == f"{mount['mountPath']}/{keys['items'][0]['path']}"


def test_pods_run_as_nobody_and_can_change_nothing(everything: list[Resource], otherwise: list[Resource]) -> None:
    for resources in (everything, otherwise):
        for component, pod in pods(resources).items():
            security = container(pod)["securityContext"]
            assert pod["spec"]["automountServiceAccountToken"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["allowPrivilegeEscalation"] is False
            if component == "judge" and resources is everything:  # vLLM's image runs as root
                continue
            assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
            assert security["readOnlyRootFilesystem"] is True


def test_images_are_the_projects_own_by_registry_and_tag(otherwise: list[Resource], everything: list[Resource]) -> None:
    assert container(pods(otherwise)["worker"])["image"] == "registry.example.com/rubric-reward-worker:1.2.3"
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert container(pods(everything)["api"])["image"] == f"rubric-reward-api:{version}"
