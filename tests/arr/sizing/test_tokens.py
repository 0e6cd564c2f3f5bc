"""Tokens of images and questions, and bytes of what is remembered, against those who really count them."""

import asyncio
import hashlib
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arr.sizing.needs import verdict_bytes
from arr.sizing.tokens import IMAGE_MARKS, SMALLEST_IMAGE, Picture, Question, call_tokens, text_tokens
from services.judging.answers import LabelAnswer
from services.judging.prompts import fence
from services.storage.redis_verdicts import RedisVerdictCache
from shared_schemas.rubrics import Mode, Task
from tests.redis_server import running_redis


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(512, 512, 256), (1024, 1024, 1024), (512, 768, 384), (500, 300, 16 * 9), (128, 128, 64), (64, 256, 4 * 16)],
)
def test_an_image_is_a_token_for_32_by_32_pixels(width: int, height: int, tokens: int) -> None:
    assert Picture(width=width, height=height).tokens == tokens


def test_an_image_beyond_the_limit_is_counted_as_the_judge_gets_it() -> None:
    judged = Picture(width=4096, height=1024).as_judged(1_048_576)
    assert (judged.width, judged.height) == (2048, 512)
    assert judged.tokens == 1024


@settings(deadline=None, max_examples=200)
@given(width=st.integers(16, 2048), height=st.integers(16, 2048))
def test_tokens_are_those_of_the_models_own_processor(width: int, height: int) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    resized = smart_resize(height, width, factor=32, min_pixels=SMALLEST_IMAGE, max_pixels=16_777_216)
    assert Picture(width=width, height=height).tokens == resized[0] * resized[1] // 1024


def question(*, mode: Mode = Mode.PAIRWISE, task: Task = Task.T2I, side: int = 512, num_criteria: int = 1) -> Question:
    return Question(
        task=task,
        mode=mode,
        picture=Picture(width=side, height=side),
        rubric_tokens=500,
        prompt_tokens=60,
        num_criteria=num_criteria,
    )


def test_a_pair_reads_two_images_in_every_order_and_its_rubric_once() -> None:
    small, large = call_tokens(question()), call_tokens(question(side=1024))
    assert large.fresh - small.fresh == 2 * (1024 - 256)
    assert small.fresh > 2 * (256 + IMAGE_MARKS) + 60
    assert small.whole - small.fresh > 500


def test_an_edit_shows_a_third_image() -> None:
    edit, t2i = call_tokens(question(task=Task.EDIT)), call_tokens(question())
    assert 256 + IMAGE_MARKS < edit.fresh - t2i.fresh < 256 + IMAGE_MARKS + 30


def test_criteria_share_the_image_that_the_first_has_read() -> None:
    alone, ten = (call_tokens(question(mode=Mode.POINTWISE, num_criteria=count)) for count in (1, 10))
    of_image = 256 + IMAGE_MARKS + 60
    assert alone.fresh - ten.fresh == pytest.approx(0.9 * (of_image + 500), rel=0.1)


def test_the_codes_of_fences_are_dearer_than_words() -> None:
    code = "0123456789abcdef"
    assert text_tokens("four words of text") == 18 / 4
    assert text_tokens(f"END PROMPT {code}") == 11 / 4 + 14
    assert text_tokens(fence("PROMPT", "x")) > 2 * 14


async def test_a_verdict_takes_as_much_of_redis_as_was_said() -> None:
    number, random = 5_000, Random(0)
    keys = [f"sha256:{hashlib.sha256(str(index).encode()).hexdigest()}" for index in range(number)]
    with running_redis() as server, server.admin() as client:
        before = client.info("memory")["used_memory"]
        cache = RedisVerdictCache(server.url, operation_timeout=timedelta(seconds=20))
        await asyncio.gather(*(cache.put(key, _answer(random)) for key in keys))
        await cache.aclose()
        stored = client.info("memory")["used_memory"] - before
        assert client.dbsize() == number
    assert stored / number == pytest.approx(verdict_bytes(), rel=0.1)


def _answer(random: Random) -> LabelAnswer:
    log_ps = {"log_p_first": -random.random(), "log_p_second": -random.random()}
    return LabelAnswer(**log_ps, label_mass=random.random(), prompt_tokens=1200, completion_tokens=1)
