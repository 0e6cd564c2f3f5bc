"""docs/judging.md keeps up with the code."""

from pathlib import Path

import pytest

from services.judging.pixel_judge import PixelJudgeSettings
from shared_schemas.problems import FailureType


@pytest.fixture(scope="module")
def guide() -> str:
    return (Path(__file__).parents[2] / "docs" / "judging.md").read_text()


def test_every_setting_of_the_pixel_judge_is_listed_with_its_default(guide: str) -> None:
    for name, field in PixelJudgeSettings.model_fields.items():
        default = str(field.default).lower()
        assert f"| `ARR_PIXEL_JUDGE_{name.upper()}` | {default} |" in guide


def test_every_failure_is_listed_with_whether_it_is_retryable(guide: str) -> None:
    rows = {line.split("`")[1]: line.rsplit("|", 2)[1].strip() for line in guide.splitlines() if line[:8] == "| `judge"}
    assert rows == {failure.value: "yes" if failure.is_retryable else "no" for failure in FailureType}
