"""docs/api.md and deploy/env.example stay complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.reward_api.app import create_app
from services.reward_api.metrics import Metrics
from services.reward_api.settings import ENV_PREFIX, Settings
from shared_schemas.evaluations import EvaluationFailure
from shared_schemas.jobs import JobReason
from shared_schemas.learning import LearnFailure
from shared_schemas.problems import FailureType, ProblemType

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "deploy/env.example").read_text(encoding="utf-8")


def variables() -> list[str]:
    return [f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields]


@pytest.mark.parametrize("slug", [*ProblemType, *FailureType, *JobReason, *LearnFailure, *EvaluationFailure])
def test_every_slug_has_a_row(slug: str) -> None:
    assert f"| `{slug}` |" in GUIDE


@pytest.mark.parametrize("name", variables())
def test_every_setting_has_a_row_with_its_description(name: str) -> None:
    field = Settings.model_fields[name.removeprefix(ENV_PREFIX).lower()]
    row = next(line for line in GUIDE.splitlines() if line.startswith(f"| `{name}` |"))
    assert field.description is not None
    assert row.endswith(f"| {field.description} |")


def test_the_example_sets_every_setting_to_its_default() -> None:
    listed = dict(re.findall(r"^#?(ARR_[A-Z_]+)=(.*)$", EXAMPLE, flags=re.MULTILINE))
    assert list(listed) == variables()
    values = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in listed.items()}
    assert Settings.model_validate(values) == Settings()


def test_every_operation_is_described(tmp_path: Path) -> None:
    for path, item in create_app(Settings(data_dir=tmp_path)).openapi()["paths"].items():
        for method in item:
            assert f"`{method.upper()} {path}`" in GUIDE


def test_every_metric_is_listed() -> None:
    names = re.findall(r"^# TYPE (\S+) ", Metrics().exposition().decode(), flags=re.MULTILINE)
    for name in names:
        if not name.endswith("_created"):
            assert f"| `{name}` |" in GUIDE


def test_the_curl_example_works(tmp_path: Path, serve) -> None:
    script = re.search(r"```bash\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert script is not None
    url = serve(create_app(Settings(data_dir=tmp_path / "data")))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"URL": url, "PATH": path, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        ["bash", "-euc", script[1]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"rewards":[1.0,-0.1]' in done.stdout
