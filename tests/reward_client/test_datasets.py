"""Labelled data through both clients, to a real service."""

import io
from pathlib import Path

import pytest
from PIL import Image

from reward_client import RequestRejected
from reward_client.datasets import FileOnDisk
from shared_schemas.datasets import UploadedRow
from shared_schemas.rubrics import Task

ROWS = [{"query": "ein Quadrat – rot", "responses": ["rot ä.png", "blue.jpg"], "label_rank": [1, 2]}]


def picture(colour: str, format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, format=format)
    return buffer.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> dict[str, bytes | Path]:
    """One on disk, one in memory."""
    path = tmp_path / "somewhere else.png"
    path.write_bytes(picture("red", "PNG"))
    return {"rot ä.png": path, "blue.jpg": picture("blue", "JPEG")}


def test_a_dataset_is_uploaded_listed_and_read(client, images) -> None:
    dataset = client.upload_dataset(ROWS, images)
    assert (dataset.task, dataset.num_pairs, dataset.num_images) == (Task.T2I, 1, 2)
    assert client.upload_dataset(ROWS, images) == dataset
    assert client.dataset(dataset.id) == dataset
    assert list(client.datasets()) == [dataset]


async def test_the_asyncio_client_does_the_same(async_client, images) -> None:
    dataset = await async_client.upload_dataset(ROWS, images)
    assert await async_client.dataset(dataset.id) == dataset
    assert [item async for item in async_client.datasets()] == [dataset]


def test_datasets_are_listed_over_several_pages(client, images) -> None:
    ids = [client.upload_dataset([{**ROWS[0], "query": f"{n}"}], images).id for n in range(51)]
    assert [dataset.id for dataset in client.datasets()] == ids[::-1]


def test_rows_may_be_typed(client, images) -> None:
    row = UploadedRow(prompt="x", images=("rot ä.png", "blue.jpg"), score=(0.5, 0.5), source="blue.jpg")
    assert client.upload_dataset([row], images).num_ties == 1


def test_faults_come_back_one_by_one(client, images) -> None:
    with pytest.raises(RequestRejected, match=r"pairs\.0\.rank: has 1 numbers for 2 images") as refusal:
        client.upload_dataset([{**ROWS[0], "label_rank": [1]}, {}], images)
    assert refusal.value.problem.slug == "invalid-dataset"
    assert len(refusal.value.problem.errors) == 3


@pytest.mark.parametrize("name", ["", "pairs", "archive", 'a"b', "a\nb"])
def test_names_that_cannot_travel_are_refused_at_once(client, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be named"):
        client.upload_dataset(ROWS, {name: b"x"})


def test_rows_that_are_no_json_are_refused_at_once(client, images) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        client.upload_dataset([{**ROWS[0], "label_score": [float("nan"), 1.0]}], images)
    with pytest.raises(TypeError, match="not JSON serializable"):
        client.upload_dataset([{"prompt": Path("x")}], images)


def test_a_file_that_is_not_there_is_an_os_error(client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.upload_dataset(ROWS, {"rot ä.png": tmp_path / "gone.png"})


def test_a_file_on_disk_is_read_like_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    file = FileOnDisk(path)
    assert file.seek(0, io.SEEK_END) == 10
    assert file.seek(2) == 2
    assert (file.read(3), file.tell(), file.read(), file.read(3)) == (b"234", 5, b"56789", b"")
    assert file.seek(-4, io.SEEK_CUR) == 6
    assert file.read(1) == b"6"


def test_more_files_than_a_process_may_open_are_sent(client, tmp_path: Path) -> None:
    rows, images = [], {}
    for n in range(1100):  # usual limit: 1024
        images[f"{n}.png"] = path = tmp_path / f"{n}.png"
        Image.new("RGB", (4, 4), (n % 256, n // 256, 0)).save(path)
    for n in range(0, 1100, 2):
        rows.append({"prompt": f"{n}", "images": [f"{n}.png", f"{n + 1}.png"], "rank": [1, 2]})
    assert client.upload_dataset(rows, images).num_images == 1100
