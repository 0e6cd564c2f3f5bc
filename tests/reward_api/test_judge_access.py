import asyncio
from datetime import timedelta

import pytest

from services.judging.backend import OpenAIBackend
from services.judging.cache import MemoryVerdictCache
from services.judging.judge import Judge
from services.reward_api.errors import Unavailable
from services.reward_api.judge_access import JudgeAccess


def access_to(url: str) -> JudgeAccess:
    judge = Judge([OpenAIBackend.over_url(url)], cache=MemoryVerdictCache())
    return JudgeAccess(judge, first_try=timedelta(milliseconds=50))


async def test_a_judge_that_is_there_is_handed_out(judge) -> None:
    judge_access = JudgeAccess(Judge([OpenAIBackend.over_url(judge.url)], cache=MemoryVerdictCache()))
    async with judge_access.open():
        assert judge_access.get().identity.model == "brightness"
        assert judge_access.identity == judge_access.get().identity
        assert await judge_access.check() is None


async def test_a_start_that_breaks_in_an_unforeseen_way_is_told_and_logged(caplog) -> None:
    judge_access = access_to("http://127.0.0.1:99999")
    async with judge_access.open():
        assert await judge_access.check() == "trying to reach it failed; the log says why"
    assert "the judge cannot be tried" in caplog.text


async def test_a_judge_that_accepts_and_stays_silent_does_not_hold_up_the_start() -> None:
    released = asyncio.Event()

    async def stay_silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    judge_access = access_to(f"http://{host}:{port}")
    async with asyncio.timeout(5), judge_access.open():
        assert judge_access.identity is None
        assert await judge_access.check() is not None
        with pytest.raises(Unavailable, match="not answered yet"):
            judge_access.get()
    released.set()
    server.close()
    await server.wait_closed()
