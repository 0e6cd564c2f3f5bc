"""The whole way to a real vLLM: a client and `arr serve` in front of it, and `arr judge-check`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from reward_client import CandidateGroup, RewardClient
from services.judging.images import JudgeImage
from shared_schemas.rubrics import RubricContent

ROOT = Path(__file__).parents[2]

ANNOUNCEMENT = re.compile(r"answers at (http://\S+)")


def environment(**settings: str) -> dict[str, str]:
    """This one, with no settings but these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings}


@pytest.fixture
def reward_url(vllm_url: str, tmp_path: Path) -> Iterator[str]:
    """`arr serve` with vLLM as its judge; a random model needs to be believed at any label mass."""
    settings = {"ARR_JUDGE_URLS": vllm_url, "ARR_MIN_LABEL_MASS": "0", "ARR_DATA_DIR": str(tmp_path / "data")}
    process = subprocess.Popen(
        [sys.executable, "-m", "arr.main", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**settings),
        cwd=tmp_path,
    )
    try:
        assert process.stderr is not None
        log = []
        for line in process.stderr:  # ends with the process, so this cannot wait for ever
            log.append(line)
            if match := ANNOUNCEMENT.search(line):
                break
        else:
            pytest.fail(f"arr serve announced nothing:\n{''.join(log)}")
        yield match[1]
    finally:
        process.kill()
        process.communicate()


def test_a_trainer_gets_rewards_from_a_real_judge(
    reward_url: str,
    wait_until: Callable[..., None],
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
    edit_rubric: RubricContent,
) -> None:
    wait_until(lambda: httpx.get(f"{reward_url}/readyz", trust_env=False).is_success, what="readiness")
    a, b, source = (picture(number).png for number in (1, 2, 3))
    with RewardClient(reward_url) as client:
        client.publish_rubric("cubes", rubric)
        client.publish_rubric("edits", edit_rubric)
        drawn = client.reward(
            [CandidateGroup("a red cube", [a, b]), CandidateGroup("a red cube", [b, a])], rubric="cubes", tie_margin=0.0
        )
        edited = client.reward([CandidateGroup("make it red", [a, b], source=source)], rubric="edits", tie_margin=0.0)
    there, back, edit = (*drawn.results, *edited.results)
    assert sorted(there.rewards or ()) == [-0.1, 1.0]
    assert back.rewards == tuple(reversed(there.rewards or ()))
    assert sorted(edit.rewards or ()) == [-0.1, 1.0]
    assert drawn.response.judge.model == "tiny-qwen3vl"
    assert drawn.response.usage.judge_calls == 2, "both groups are the same pair"


def test_the_check_up_finds_all_that_vllm_can_do_and_no_noise(vllm_url: str, tmp_path: Path) -> None:
    arguments = ("judge-check", "--judge-url", vllm_url, "--pairs", "3", "--repeats", "2", "--json")
    said = subprocess.run(
        [sys.executable, "-m", "arr.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        cwd=tmp_path,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    [replica] = found["replicas"]
    assert (replica["model"], replica["capability"]) == ("tiny-qwen3vl", "label-log-probs")
    assert replica["takes_priority"] is True
    assert replica["has_metrics"] is True
    assert found["reliability"]["noise"] == pytest.approx(0.0, abs=1e-5)
    assert 0 < found["reliability"]["min_label_mass"] < 0.5
