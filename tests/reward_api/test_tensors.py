import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load

from services.reward_api.tensors import SAFETENSORS, are_wanted, encode
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, FailureType
from shared_schemas.reward import (
    Group,
    GroupError,
    GroupResult,
    JudgeIdentity,
    PairVerdict,
    RewardResponse,
    Status,
    Timing,
    Usage,
)
from shared_schemas.rubrics import RubricIdentity

DIGEST = "sha256:" + "0" * 64
NAN = np.nan


def group(group_id: str, num_candidates: int) -> Group:
    return Group(id=group_id, prompt="p", candidates=tuple(f"{group_id}{index}" for index in range(num_candidates)))


def pair(first: int, second: int, margin: float | None) -> PairVerdict:
    return PairVerdict(
        first=first,
        second=second,
        margin=margin,
        p_first=None,
        position_bias=None,
        consistent=None,
        label_mass=None,
        cached=False,
    )


def response(*results: GroupResult) -> RewardResponse:
    return RewardResponse(
        rubric=RubricIdentity(name="r", version=1, digest=DIGEST),
        judge=JudgeIdentity(model="m", fingerprint=DIGEST),
        results=results,
        usage=Usage(),
        timing=Timing(total_ms=1.0, judge_ms=1.0, queue_ms=0.0, decode_ms=0.0, overhead_ms=0.0),
    )


def metadata(encoded: bytes, folder: Path) -> dict[str, str]:
    file = folder / "answer.safetensors"
    file.write_bytes(encoded)
    with safe_open(file, framework="numpy") as opened:
        found: dict[str, str] = opened.metadata()
    return found


def test_what_was_not_judged_is_nan_and_what_was_stands_in_its_place(tmp_path: Path) -> None:
    error = GroupError(type=FailureType.JUDGE_TIMEOUT, detail="d", retryable=True)
    answer = response(
        GroupResult(
            id="a",
            status=Status.SCORED,
            rewards=(1.0, 0.5, -0.1),
            ranks=(1, 2, 3),
            pairs=(pair(0, 1, 1.5), pair(1, 2, 2.0)),
        ),
        GroupResult(id="b", status=Status.TIED, pairs=(pair(0, 1, -0.25),)),
        GroupResult(id="c", status=Status.FAILED, error=error),
        GroupResult(id="d", status=Status.SCORED, rewards=(-0.1, 1.0), ranks=(2, 1), pairs=(pair(0, 1, None),)),
    )
    encoded = encode(answer, (group("a", 3), group("b", 2), group("c", 2), group("d", 2)))
    tensors = load(encoded)
    np.testing.assert_array_equal(
        tensors["rewards"], np.array([[1.0, 0.5, -0.1], [NAN] * 3, [NAN] * 3, [-0.1, 1.0, NAN]], np.float32)
    )
    np.testing.assert_array_equal(
        tensors["margins"],
        [
            [[0.0, 1.5, NAN], [-1.5, 0.0, 2.0], [NAN, -2.0, 0.0]],
            [[0.0, -0.25, NAN], [0.25, 0.0, NAN], [NAN] * 3],
            [[0.0, NAN, NAN], [NAN, 0.0, NAN], [NAN] * 3],
            [[0.0, NAN, NAN], [NAN, 0.0, NAN], [NAN] * 3],
        ],
    )
    assert tensors["status"].tolist() == [0, 1, 2, 0]
    assert tensors["num_candidates"].tolist() == [3, 2, 2, 2]
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {
        "rewards": np.float32,
        "margins": np.float32,
        "status": np.int8,
        "num_candidates": np.int32,
    }
    told = json.loads(metadata(encoded, tmp_path)["response"])
    assert all("pairs" not in result for result in told["results"])
    without_pairs = [result.model_copy(update={"pairs": ()}) for result in answer.results]
    assert RewardResponse.model_validate(told) == answer.model_copy(update={"results": tuple(without_pairs)})


def test_scores_have_rewards_and_no_margins() -> None:
    answer = response(GroupResult(id="a", status=Status.SCORED, rewards=(0.75,), ranks=(1,), scores=(0.75,)))
    tensors = load(encode(answer, (group("a", 1),)))
    assert tensors["rewards"].tolist() == [[0.75]]
    assert tensors["margins"].tolist() == [[[0.0]]]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("application/json", False),
        ("text/html", False),
        (SAFETENSORS, True),
        (f"{SAFETENSORS}, */*", True),
        (f"{SAFETENSORS}, application/json;q=0.5", True),
        (f"application/json; q=1.0 , {SAFETENSORS.upper()} ; Q=1", True),
        (f"application/json, {SAFETENSORS};q=0.9", False),
        (f"{SAFETENSORS};q=0", False),
        (f"{SAFETENSORS};q=nonsense", False),
        (f"{SAFETENSORS};q=nan", False),
        (",;,=", False),
    ],
)
def test_tensors_are_for_those_who_name_them(accept: str, expected: bool) -> None:
    assert are_wanted(accept) is expected


async def test_rewards_come_as_tensors_to_those_who_ask(service, ask, png, tmp_path: Path) -> None:
    groups = [
        {"id": "two", "prompt": "a lamp", "candidates": ["a", "b"]},
        {"id": "three", "prompt": "a lamp", "candidates": ["b", "c", "a"]},
        {"id": "bad", "prompt": "BROKEN", "candidates": ["a", "b"]},
    ]
    images = {"a": png(1.0), "b": png(0.0), "c": png(0.6)}
    answer = await ask(service, groups, images, accept=SAFETENSORS)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, SAFETENSORS)
    tensors = load(answer.content)
    np.testing.assert_array_equal(
        tensors["rewards"], np.array([[1.0, -0.1, NAN], [-0.1, 0.45, 1.0], [NAN] * 3], np.float32)
    )
    np.testing.assert_allclose(tensors["margins"][1], [[0, -2.4, -4.0], [2.4, 0, -1.6], [4.0, 1.6, 0]], rtol=1e-5)
    told = RewardResponse.model_validate_json(metadata(answer.content, tmp_path)["response"])
    assert told.results[2].error is not None
    plain = RewardResponse.model_validate_json((await ask(service, groups, images)).content)
    assert [result.rewards for result in told.results] == [result.rewards for result in plain.results]


async def test_a_refusal_is_a_problem_document_whatever_was_asked_for(service, ask, png) -> None:
    groups = [{"id": "g", "prompt": "a lamp", "candidates": ["a", "missing"]}]
    answer = await ask(service, groups, {"a": png()}, accept=SAFETENSORS)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM_MEDIA_TYPE)


def test_tensors_are_written_without_torch() -> None:
    script = (
        "import sys, numpy; from services.reward_api.tensors import save\n"
        "save({'x': numpy.zeros(2, numpy.float32)}, metadata={'response': '{}'})\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2], timeout=60)
