import httpx
import pytest
from starlette.responses import PlainTextResponse

from services.reward_api.api_keys import KeyFile
from services.reward_api.loopback import LoopbackHosts
from shared_schemas.access import Scope

REBOUND = {"Host": "rebound.example"}


async def status_for(*hosts: bytes) -> int:
    """Status of an answer from behind the check."""
    transport = httpx.ASGITransport(LoopbackHosts(PlainTextResponse("hello")))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return (await client.get("/", headers=[(b"Host", host) for host in hosts])).status_code


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:8080", b"127.0.0.1", b"127.0.0.1:9", b"127.1.2.3", b"[::1]", b"[::1]:8080"]
)
async def test_this_machine_is_answered(host: bytes) -> None:
    assert await status_for(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *(b"rebound.example", b"127.0.0.1.nip.io", b"localhost.rebound.example:8080", b"localhost."),
        *(b"127.0.0.1@rebound.example", b"rebound.example#localhost", b"localhost, rebound.example"),
        *(b"10.0.0.7", b"0.0.0.0", b"[::]", b"::1", b"[localhost]", b"2130706433", b"0x7f.1"),
        *("loc\u00e4lhost".encode("latin-1"), b"localhost:80:80", b""),
    ],
)
async def test_a_page_that_points_its_own_name_here_is_not(host: bytes) -> None:
    assert await status_for(host) == 403


async def test_a_second_host_does_not_hide_the_first() -> None:
    assert await status_for(b"localhost", b"rebound.example") == 403


@pytest.mark.parametrize("path", ["/livez", "/rubrics", "/openapi.json", "/docs", "/nowhere"])
async def test_without_keys_no_path_of_the_service_is_open_to_such_a_page(service, path: str) -> None:
    answer = await service.get(path, headers=REBOUND)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert "localhost" in answer.json()["detail"]
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


async def test_with_keys_any_host_will_do(running, tmp_path) -> None:
    _, token = KeyFile(tmp_path / "keys.json").add("a", tenant="a", scopes=[Scope.REWARD])
    async with running(api_keys=tmp_path / "keys.json") as service:
        headers = REBOUND | {"Authorization": f"Bearer {token}"}
        assert (await service.get("/rubrics", headers=headers)).status_code == 200
