"""Datasets in one archive: the same as their parts, and nothing that an archive says about itself is believed."""

import io
import json
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from services.reward_api.dataset_archive import ArchiveError, ArchiveLimits, Unpacked, unpack
from services.reward_api.spool import Spool, SpoolWriter

MEMBERS = {"pairs.jsonl": b"{}\n", "a.png": b"first", "images/b.png": b"second" * 1000}

NO_ARCHIVE = "the archive is damaged, or is no tar, tar.gz or zip"

LIMITS = ArchiveLimits(max_bytes=1_000_000, max_file_bytes=100_000, max_files=100)


def tar(members: Mapping[str, bytes], *, mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def tar_gz(members: Mapping[str, bytes]) -> bytes:
    return tar(members, mode="w:gz")


def zipped(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def stored_zip(members: Mapping[str, bytes]) -> bytes:
    return zipped(members, method=zipfile.ZIP_STORED)


KINDS = [tar, tar_gz, zipped, stored_zip]

Archive = Callable[[Mapping[str, bytes]], bytes]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path) as spool:
        yield spool


def unpacked(spool: Spool, data: bytes, *, limits: ArchiveLimits = LIMITS) -> Unpacked:
    writer = SpoolWriter(spool)
    writer.write(data)
    return unpack(writer.finish(), limits=limits)


def refusal(spool: Spool, data: bytes, *, limits: ArchiveLimits = LIMITS) -> str:
    with pytest.raises(ArchiveError) as error:
        unpacked(spool, data, limits=limits)
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folder", ["", "./", "my set/", "deep/er/"])
def test_files_are_found_relative_to_the_rows(spool: Spool, kind: Archive, folder: str) -> None:
    members = {f"{folder}{name}": data for name, data in MEMBERS.items()}
    found = unpacked(spool, kind(members))
    assert found.pairs.read() == b"{}\n"
    assert {name: file.read() for name, file in found.images.items()} == {
        "a.png": b"first",
        "images/b.png": b"second" * 1000,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_mac_adds_is_left_out(spool: Spool, kind: Archive) -> None:
    clutter = {"__MACOSX/._a.png": b"x", ".DS_Store": b"x", "images/._b.png": b"x", "._pairs.jsonl": b"x"}
    assert unpacked(spool, kind(clutter | MEMBERS)).images.keys() == {"a.png", "images/b.png"}


def test_folders_are_no_files(spool: Spool, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    (folder / "pairs.jsonl").write_text("{}")
    (folder / "images/b.png").write_text("x")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, "set")
    assert unpacked(spool, buffer.getvalue()).images.keys() == {"images/b.png"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["/etc/passwd", "../a.png", "images/../../a.png", "..\\a.png", "c:\\a.png"])
def test_paths_that_lead_elsewhere_are_refused(spool: Spool, kind: Archive, name: str) -> None:
    assert "is not relative, or leads out of it" in refusal(spool, kind({**MEMBERS, name: b"x"}))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_must_be_there_once_and_lie_above_everything(spool: Spool, kind: Archive) -> None:
    assert "must have one file pairs.jsonl, and has 0" in refusal(spool, kind({"a.png": b"x"}))
    assert "and has 2" in refusal(spool, kind({**MEMBERS, "images/pairs.jsonl": b"x"}))
    assert "'b.png' lies outside" in refusal(spool, kind({"set/pairs.jsonl": b"x", "b.png": b"x"}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(spool: Spool, kind: bytes) -> None:
    buffer = io.BytesIO(tar(MEMBERS))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        member = tarfile.TarInfo("c.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    assert "'c.png' is a link" in refusal(spool, buffer.getvalue())


def test_links_in_a_zip_are_refused(spool: Spool) -> None:
    buffer = io.BytesIO(zipped(MEMBERS))
    with zipfile.ZipFile(buffer, "a") as archive:
        member = zipfile.ZipInfo("c.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert "'c.png' is a link" in refusal(spool, buffer.getvalue())


def test_the_same_path_twice_is_refused(spool: Spool) -> None:
    buffer = io.BytesIO(tar(MEMBERS))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        archive.addfile(tarfile.TarInfo("./images//b.png"))
    assert "twice" in refusal(spool, buffer.getvalue())


def test_a_zip_in_another_compression_is_refused(spool: Spool) -> None:
    assert "not compressed by deflate" in refusal(spool, zipped(MEMBERS, method=zipfile.ZIP_LZMA))


def test_an_encrypted_zip_is_refused(spool: Spool) -> None:
    data = bytearray(zipped({"a.png": b"x"}))
    data[6] |= 1  # the flags of the member, and those of its line in the table of contents
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "'a.png' is encrypted" in refusal(spool, bytes(data))


def test_a_sparse_file_in_a_tar_is_refused(spool: Spool) -> None:
    """It would be read as it lies there, without its holes."""
    member = tarfile.TarInfo("c.png")
    member.type = tarfile.GNUTYPE_SPARSE
    assert "'c.png' is a link, or something else" in refusal(spool, member.tobuf(tarfile.GNU_FORMAT) + tar(MEMBERS))


def test_a_name_in_another_encoding_is_refused(spool: Spool) -> None:
    assert refusal(spool, tar({**MEMBERS, "\udcff.png": b"x"})) == NO_ARCHIVE


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_counted_while_it_is_unpacked(spool: Spool, kind: Archive) -> None:
    bomb = kind({"pairs.jsonl": b"{}", **{f"{n}.png": bytes(90_000) for n in range(20)}})
    assert "has more than 100000 bytes" in refusal(spool, kind({**MEMBERS, "c.png": bytes(100_001)}))
    if kind in {tar_gz, zipped}:
        assert len(bomb) < 10_000
        assert "more than 1000000 bytes" in refusal(spool, bomb)
        assert spool.tell() < 4_000_000
    many = kind({"pairs.jsonl": b"{}", **{f"{n}.png": b"" for n in range(100)}})
    assert "more than 100 members" in refusal(spool, many)


def test_a_size_that_a_tar_only_claims_is_refused(spool: Spool) -> None:
    member = tarfile.TarInfo("c.png")
    member.size = 99_999
    assert refusal(spool, tar(MEMBERS)[:-10240] + member.tobuf() + b"x" * 512) == "the archive is truncated"


def test_a_header_that_would_fill_the_memory_is_refused(spool: Spool) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 17 << 20
    limits = ArchiveLimits(max_bytes=1 << 30, max_file_bytes=1 << 30, max_files=10)
    assert "table of contents" in refusal(spool, member.tobuf() + bytes(17 << 20), limits=limits)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_headers_that_only_announce_the_next_one_are_refused(spool: Spool, kind: bytes) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 11
    header = member.tobuf(tarfile.GNU_FORMAT) + b"11 path=ab\n".ljust(512, b"\0")
    assert refusal(spool, header * 2000 + tar(MEMBERS)) == NO_ARCHIVE


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04", b"\x1f\x8b", b"Rar!\x1a\x07", b"{}"])
def test_what_is_no_archive_is_refused(spool: Spool, data: bytes) -> None:
    assert refusal(spool, data) == NO_ARCHIVE


def test_an_archive_of_nothing_has_no_rows(spool: Spool) -> None:
    assert refusal(spool, bytes(1024)) == "the archive must have one file pairs.jsonl, and has 0"


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive_is_unpacked_or_refused_and_nothing_else(spool: Spool, kind: Archive) -> None:
    data, chance = kind(MEMBERS), random.Random(0)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        with suppress(ArchiveError):
            unpacked(spool, bytes(damaged[: chance.choice([len(data), chance.randrange(len(data))])]))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_archive_is_the_same_dataset_as_its_parts(service, kind: Archive) -> None:
    files = {}
    for name, colour in (("a.png", "red"), ("images/b.png", "blue")):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(buffer, format="PNG")
        files[name] = buffer.getvalue()
    rows = json.dumps({"prompt": "a red square", "images": list(files), "rank": [1, 2]}).encode()
    by_archive = await service.post("/datasets", files={"archive": kind({"pairs.jsonl": rows, **files})})
    assert by_archive.status_code == 201, by_archive.text
    by_parts = await service.post("/datasets", files={"pairs": rows, **files})
    assert (by_parts.status_code, by_parts.json()) == (200, by_archive.json())


async def test_an_archive_that_is_refused_is_an_invalid_dataset(service) -> None:
    answer = await service.post("/datasets", files={"archive": tar({"../pairs.jsonl": b"{}"})})
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["part"]) == (422, "/problems/invalid-dataset", "archive")
    assert "leads out of it" in problem["detail"]
