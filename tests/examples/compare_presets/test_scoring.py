"""The judge without a service around it says what the service says."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from starlette.types import ASGIApp

from arr.demo.shapes import TRAIN_PROMPTS
from examples.compare_presets.scoring import Scorer
from reward_client import CandidateGroup, RewardClient
from services.judging.pixel_judge import PixelJudgeSettings
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from shared_schemas.reward import RewardScheme, Scheme, Status
from shared_schemas.rubrics import RubricContent
from trainer.config import RewardConfig

RUBRIC = RubricContent.model_validate_json((Path(__file__).parents[3] / "arr" / "demo" / "rubric.json").read_text())


def _images(count: int) -> torch.Tensor:
    """Random blocks of colour: different enough to be told apart."""
    blocks = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return blocks.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)


def _score(settings: PixelJudgeSettings, reward: RewardConfig, images: torch.Tensor, *, one_order: bool = False):
    source = torch.Generator().manual_seed(1)
    return Scorer(RUBRIC, settings).score(
        TRAIN_PROMPTS[0], list(images), reward=reward, one_order=one_order, source=source
    )


@pytest.mark.parametrize(("count", "scheme"), [(2, Scheme.BINARY), (4, Scheme.WIN_RATE)])
def test_rewards_are_those_of_the_service(
    serve: Callable[[ASGIApp], str], tmp_path: Path, count: int, scheme: Scheme
) -> None:
    images = _images(count)
    with RewardClient(serve(create_app(Settings(data_dir=tmp_path)))) as client:
        group = CandidateGroup(TRAIN_PROMPTS[0], tuple(images), id="g")
        scheme_asked = RewardScheme(scheme=scheme, preferred=1.0, dispreferred=-1.0)
        (theirs,) = client.reward([group], rubric=RUBRIC, reward=scheme_asked).results
    ours = _score(PixelJudgeSettings(), RewardConfig(rubric="shapes", scheme=scheme), images)
    assert theirs.status is Status.SCORED
    assert theirs.rewards is not None
    assert ours.rewards_G.tolist() == pytest.approx(theirs.rewards, abs=1e-6)
    assert ours.margins == pytest.approx([pair.margin for pair in theirs.pairs], abs=1e-6)


def test_candidates_that_look_alike_are_tied_and_have_no_rewards() -> None:
    scored = _score(PixelJudgeSettings(), RewardConfig(rubric="shapes"), _images(1).expand(2, -1, -1, -1))
    assert scored.is_tied


def test_a_position_bias_cancels_in_both_orders_and_stays_in_one() -> None:
    reward, biased = RewardConfig(rubric="shapes"), PixelJudgeSettings(position_bias=3.0)
    both, one = (_score(biased, reward, _images(2), one_order=one_order) for one_order in (False, True))
    assert both.margins == pytest.approx(both.sound_margins)
    assert abs(one.margins[0] - one.sound_margins[0]) == pytest.approx(3.0)


def test_noise_changes_verdicts_but_not_what_they_are_held_against() -> None:
    scored = _score(PixelJudgeSettings(noise=2.0), RewardConfig(rubric="shapes"), _images(4))
    again = _score(PixelJudgeSettings(noise=2.0), RewardConfig(rubric="shapes"), _images(4))
    sound = _score(PixelJudgeSettings(), RewardConfig(rubric="shapes"), _images(4))
    assert scored.sound_margins == sound.margins
    assert scored.margins == again.margins
    assert min(abs(noisy - true) for noisy, true in zip(scored.margins, sound.margins, strict=True)) > 1e-3
