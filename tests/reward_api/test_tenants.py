"""Tenants on one service: whose verdicts answer whom."""

from pathlib import Path

import pytest

from services.reward_api.api_keys import KeyFile
from shared_schemas.access import Scope
from shared_schemas.reward import RewardResponse

PAIR = {"id": "g", "prompt": "a lamp", "candidates": ["a", "b"]}


@pytest.mark.parametrize(("share_verdicts", "expected"), [(False, [2, 0, 2]), (True, [2, 0, 0])])
async def test_tenants_share_verdicts_only_where_that_is_configured(
    running, ask, png, tmp_path: Path, share_verdicts: bool, expected: list[int]
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    tokens = [file.add(name, tenant=name, scopes=[Scope.REWARD])[1] for name in ("one", "other")]
    judge_calls = []
    async with running(api_keys=file.path, share_verdicts=share_verdicts) as service:
        for token in (tokens[0], tokens[0], tokens[1]):
            service.headers["Authorization"] = f"Bearer {token}"
            answer = await ask(service, [PAIR], {"a": png(1.0), "b": png(0.0)}, rubric="t2i@none")
            assert answer.status_code == 200, answer.text
            judge_calls.append(RewardResponse.model_validate_json(answer.content).usage.judge_calls)
    assert judge_calls == expected
