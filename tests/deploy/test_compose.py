"""docker-compose.yml says nothing that is not so: commands, settings, ports, paths, files and variables exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from arr.listening import LAST_ANSWERS
from services.reward_api.api_keys import KeyFile
from services.reward_api.key_ring import KeyRing
from services.reward_api.settings import ENV_PREFIX, Settings
from shared_schemas.access import Scope
from tests.deploy.commands import commands_in, read_command
from tests.deploy.interpolation import VARIABLE, MissingVariableError, interpolated
from tests.redis_server import running_redis
from trainer.config import load_config

SETTINGS = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
OF_CLIENTS = {"ARR_URL", "ARR_API_KEY"}
DECIDED = {
    *("ARR_DATA_DIR", "ARR_DATABASE_URL", "ARR_REDIS_URL", "ARR_JUDGE_URLS", "ARR_API_KEYS"),
    *("ARR_WORKER", "ARR_HOST", "ARR_PORT"),
}
"""Settings that the file decides itself."""

NOT_ROOT_BY_THEMSELVES = ("rubric-reward-", "prom/prometheus:", "grafana/grafana:")
"""Images that name another user than root themselves; ours are looked at in test_images.py."""


def scripts_and_commands(service: dict[str, Any]) -> list[list[str]]:
    """Every `arr …` that a service runs."""
    words = [*service.get("entrypoint", []), *service.get("command", [])]
    if words[:1] == ["/bin/sh"]:
        return commands_in(words[-1])
    return [words] if words[:1] == ["arr"] else []


def test_the_file_is_a_compose_file(compose: dict[str, Any]) -> None:
    compose_spec.PyCompose.from_json(json.dumps(compose)).validate()


@pytest.mark.parametrize("wrong", [{"read_only": "perhaps"}, {"comand": []}, {"networks": ["nowhere"]}])
def test_the_check_sees_what_is_no_compose_file(compose: dict[str, Any], wrong: dict[str, Any]) -> None:
    services = compose["services"] | {"redis": compose["services"]["redis"] | wrong}
    with pytest.raises(ValueError, match=r".+"):
        compose_spec.PyCompose.from_json(json.dumps(compose | {"services": services})).validate()


@pytest.mark.parametrize("profiles", ["cpu", "gpu", "cpu,monitoring,tiny-trainer", "gpu,monitoring,trainer"])
def test_docker_compose_takes_the_file(profiles: str, root: Path, tmp_path: Path) -> None:
    command = ["docker", "compose", "--env-file", str(tmp_path / "env"), "config", "--quiet"]
    if shutil.which("docker") is None or subprocess.run([*command[:2], "version"], capture_output=True).returncode:
        pytest.skip("there is no docker client with compose on PATH; the file was checked against the specification")
    (tmp_path / "env").write_text(f"COMPOSE_PROFILES={profiles}\nPOSTGRES_PASSWORD=a-password\n")
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_command_is_one_of_ours_with_options_that_it_has(compose: dict[str, Any]) -> None:
    called = [
        read_command(words) for service in compose["services"].values() for words in scripts_and_commands(service)
    ]
    assert {"serve", "worker", "pixel-judge", "add", "train", "demo", "publish"} <= set(called)


@pytest.mark.parametrize("wrong", ["arr surv", "arr serve --prot 1", "arr keys ad me", "arr train", "arr worker now"])
def test_the_check_sees_a_command_that_does_not_exist(wrong: str) -> None:
    with pytest.raises(Exception, match=r"No such|Missing|unexpected extra"):
        read_command(wrong.split())


def test_every_setting_exists(compose: dict[str, Any]) -> None:
    named = {name for service in compose["services"].values() for name in service.get("environment", {})}
    ours = {name for name in named if name.startswith(ENV_PREFIX)}
    assert ours - OF_CLIENTS <= SETTINGS


@pytest.mark.parametrize("name", ["reward-api", "rubric-worker"])
def test_every_setting_that_the_file_does_not_decide_is_taken_from_the_environment(
    compose: dict[str, Any], name: str
) -> None:
    environment = compose["services"][name]["environment"]
    passed_on = {variable for variable, value in environment.items() if value is None}
    assert passed_on == SETTINGS - DECIDED


def test_what_the_file_decides_can_be_served(compose: dict[str, Any], tmp_path: Path) -> None:
    KeyFile(tmp_path / "keys.json").add("me", tenant="me", scopes=[Scope.ADMIN])
    environment = compose["services"]["reward-api"]["environment"]
    decided = {name.removeprefix(ENV_PREFIX).lower(): environment[name] for name in DECIDED}
    settings = Settings.model_validate(decided | {"api_keys": tmp_path / "keys.json"})
    assert settings.worker == "none"
    assert not settings.uses_pixel_judge


def test_services_listen_on_their_default_ports_and_are_asked_there(
    compose: dict[str, Any], answered_paths: dict[int, set[str]]
) -> None:
    asked = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)'", json.dumps(compose["services"]))
    assert {port for port, _ in asked} == {"8080", "8000"}
    assert all(path in answered_paths[int(port)] for port, path in asked)


def test_nothing_is_reached_from_another_machine_unless_asked_for(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_api_is_published_where_its_settings_say(compose_text: str) -> None:
    text = interpolated(compose_text, {"POSTGRES_PASSWORD": "x", "ARR_HOST": "10.0.0.1", "ARR_PORT": "9000"})
    service = yaml.safe_load(text)["services"]["reward-api"]
    assert service["ports"] == [f"10.0.0.1:9000:{service['environment']['ARR_PORT']}"]


def test_every_variable_is_in_the_example_with_its_default(compose_text: str, root: Path) -> None:
    example = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (root / "deploy/env.example").read_text(), flags=re.MULTILINE))
    used = {match["name"]: match["rest"] or "" for match in VARIABLE.finditer(compose_text) if match["name"]}
    defaults = {name: value for name, value in used.items() if name != "POSTGRES_PASSWORD"}
    assert {name: example.get(name) for name in defaults} == defaults
    passed_on = {name for service in yaml.safe_load(compose_text)["services"].values() for name in _passed_on(service)}
    named = {"COMPOSE_PROFILES", "POSTGRES_PASSWORD", *used, *passed_on}
    assert {name for name in example if not name.startswith(ENV_PREFIX)} == {
        name for name in named if not name.startswith(ENV_PREFIX)
    }


def _passed_on(service: dict[str, Any]) -> set[str]:
    return {name for name, value in service.get("environment", {}).items() if value is None}


def test_the_example_as_it_is_lacks_a_password_and_nothing_else(compose_text: str, root: Path) -> None:
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (root / "deploy/env.example").read_text(), flags=re.MULTILINE))
    assert example == {"COMPOSE_PROFILES": "cpu", "POSTGRES_PASSWORD": ""}
    with pytest.raises(MissingVariableError, match=r"\Awrite a POSTGRES_PASSWORD into \.env, [^\n]+\Z"):
        interpolated(compose_text, example)


def test_the_profiles_are_those_that_the_example_names(compose: dict[str, Any], root: Path) -> None:
    profiles = {name for service in compose["services"].values() for name in service.get("profiles", [])}
    example = (root / "deploy/env.example").read_text()
    assert all(f"`{name}`" in example for name in profiles - {"tools"})
    assert profiles == {"cpu", "gpu", "monitoring", "trainer", "tiny-trainer", "tools"}


def test_what_may_be_absent_is_waited_for_only_where_it_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            may_be_absent = set(services[other].get("profiles", [])) - set(service.get("profiles", []))
            assert not may_be_absent or how["required"] is False, f"{name} waits for {other}"
            one_shot = services[other].get("restart") == "no"
            assert how["condition"] == ("service_completed_successfully" if one_shot else "service_healthy")


def test_services_run_as_nobody_and_can_change_nothing(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name == "judge-gpu":  # vLLM's image runs as root and writes caches all over itself
            continue
        assert service["read_only"] is True, name
        is_root = service.get("user", "0").startswith("0")
        assert not is_root or service["image"].startswith(NOT_ROOT_BY_THEMSELVES), name


def test_every_service_that_stays_has_a_health_check(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if service["restart"] != "no":
            assert service["healthcheck"]["test"], name


def test_every_image_has_a_tag(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert re.fullmatch(r"[\w./-]+:v?\d+(\.\d+)+(-[a-z]+)?", service["image"]), name


def test_files_that_are_mounted_or_built_from_exist(compose: dict[str, Any], root: Path) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            if isinstance(volume, str) and volume.startswith("."):
                assert (root / volume.split(":")[0]).exists(), volume
        if "build" in service:
            assert (root / service["build"]["dockerfile"]).is_file()


def test_the_store_of_verdicts_is_a_cache(compose: dict[str, Any]) -> None:
    with running_redis(*compose["services"]["redis"]["command"][1:]) as server, server.admin() as client:
        found = client.config_get("maxmemory", "maxmemory-policy", "save", "appendonly")
    assert found == {"maxmemory": "536870912", "maxmemory-policy": "allkeys-lru", "save": "", "appendonly": "no"}


def test_services_are_given_the_time_that_they_take_to_stop(compose: dict[str, Any]) -> None:
    drain = timedelta(seconds=Settings.model_fields["drain_seconds"].default)
    grace = compose_spec.parse_duration(compose["services"]["reward-api"]["stop_grace_period"])
    assert timedelta(seconds=grace) > drain + LAST_ANSWERS


def test_the_first_keys_are_made_once_and_open_what_they_shall(compose: dict[str, Any], tmp_path: Path) -> None:
    service = compose["services"]["first-keys"]
    for folder in ("keys", "tokens"):
        (tmp_path / folder).mkdir()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run() -> dict[str, str]:
        command = [*service["entrypoint"], *service["command"]]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        return {path.name: path.read_text().strip() for path in (tmp_path / "tokens").iterdir()}

    tokens = run()
    assert run() == tokens
    ring = KeyRing(tmp_path / "keys/keys.json")
    keys = {name: ring.verify(token) for name, token in tokens.items()}
    assert {name: key.scopes for name, key in keys.items() if key is not None} == {
        "prometheus": (Scope.REWARD,),
        "trainer": (Scope.REWARD,),
        "tiny-trainer": (Scope.REWARD, Scope.RUBRICS),
    }
    assert len(KeyFile(tmp_path / "keys/keys.json").read()) == 3
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "tokens").iterdir()} == {0o440}


def test_a_worker_is_healthy_while_its_file_is_touched(compose: dict[str, Any], tmp_path: Path) -> None:
    kind, script = compose["services"]["rubric-worker"]["healthcheck"]["test"]
    command = compose["services"]["rubric-worker"]["command"]
    file = tmp_path / "worker-alive"

    def is_healthy() -> bool:
        check = script.replace(command[-1], str(file))
        return subprocess.run(["/bin/sh", "-c", check], capture_output=True, check=False).returncode == 0

    assert kind == "CMD-SHELL"
    assert command[-1] in script
    assert not is_healthy()
    file.touch()
    assert is_healthy()
    os.utime(file, (0, 0))
    assert not is_healthy()


def test_the_tiny_trainer_changes_a_recipe_that_takes_the_changes(compose: dict[str, Any], root: Path) -> None:
    environment = compose["services"]["tiny-trainer"]["environment"]
    words = next(words for words in scripts_and_commands(compose["services"]["tiny-trainer"]) if words[1] == "train")
    changes = [word.replace("$ARR_URL", environment["ARR_URL"]) for word in words[3:]]
    recipe = load_config(root / "trainer/configs/tiny_flux.toml", changes)
    assert (recipe.reward.url, recipe.reward.rubric) == ("http://reward-api:8080", "shapes")


def test_prometheus_asks_services_that_exist_with_a_key_that_is_made(compose: dict[str, Any], root: Path) -> None:
    services = compose["services"]
    names = set(services)
    for service in services.values():
        if isinstance(service.get("networks"), dict):
            names |= {alias for network in service["networks"].values() for alias in network["aliases"]}
    config = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        (found,) = job["dns_sd_configs"]
        assert set(found["names"]) <= names
    assert [job["dns_sd_configs"][0]["port"] for job in config["scrape_configs"]] == [8080, 8000]
    key = Path(config["scrape_configs"][0]["authorization"]["credentials_file"])
    assert f"{key.name}:reward" in services["first-keys"]["command"][0]
    assert f"tokens:{key.parent}:ro" in services["prometheus"]["volumes"]
