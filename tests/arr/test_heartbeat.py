"""A heartbeat touches its file while the block lasts, and no longer."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from arr.heartbeat import beating

OFTEN = timedelta(milliseconds=1)


def is_touched(file: Path) -> bool:
    return file.stat().st_mtime > 0


async def is_touched_again(file: Path) -> bool:
    """Whether the file gets a new time within a while."""
    os.utime(file, (0, 0))
    for _ in range(1000):
        if is_touched(file):
            return True
        await asyncio.sleep(0.001)
    return False


async def test_the_file_is_touched_again_and_again_until_the_block_ends(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    async with beating(file, every=OFTEN):
        assert await is_touched_again(file)
        assert await is_touched_again(file)
    assert len(asyncio.all_tasks()) == 1  # this test alone


async def test_without_a_file_nothing_runs_beside_the_block() -> None:
    async with beating(None, every=OFTEN):
        assert len(asyncio.all_tasks()) == 1


async def test_a_file_that_cannot_be_touched_ends_the_command_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        async with beating(tmp_path / "gone" / "alive"):
            pytest.fail("the block was entered")
    assert capsys.readouterr().err.endswith("alive: No such file or directory (--heartbeat)\n")
