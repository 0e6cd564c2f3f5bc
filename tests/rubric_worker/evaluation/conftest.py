import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.storage.database import Database
from tests.rubric_worker.evaluation.laboratory import Laboratory


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind is enough here: what is stored is tested where it is stored."""
    return f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}"


@pytest.fixture
async def laboratory(database: Database, tmp_path: Path, working: Any, until: Any) -> AsyncIterator[Laboratory]:
    laboratory = Laboratory(database, tmp_path, working, until)
    yield laboratory
    await asyncio.gather(*(judge.aclose() for judge in laboratory.judges))
