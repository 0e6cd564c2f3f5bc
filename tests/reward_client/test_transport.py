import pytest

from reward_client import AsyncRewardClient, RewardClient
from reward_client.transport import ask_environment_for_proxies, credentials, service_url

URL = service_url("http://localhost:8080")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
def test_no_proxy_is_asked_for_this_machine(url) -> None:
    assert not ask_environment_for_proxies(service_url(url))


@pytest.mark.parametrize("url", ["https://rewards.example", "http://10.0.0.7:8080"])
def test_the_environment_may_name_a_proxy_for_others(url) -> None:
    assert ask_environment_for_proxies(service_url(url))


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "localhost:8080", "http://", "http://host:port", "", "ftp://a"])
def test_what_is_no_url_of_a_service_is_refused_at_once(text) -> None:
    with pytest.raises(ValueError, match=r"not (a|the) URL"):
        service_url(text)


def test_a_key_is_sent_as_a_bearer_token_without_the_line_break_of_its_file() -> None:
    assert credentials("arr_1_s3cret\n", url=URL) == {"Authorization": "Bearer arr_1_s3cret"}


@pytest.mark.parametrize("key", [None, "", " \n"])
def test_without_a_key_none_is_sent(key) -> None:
    assert credentials(key, url=URL) == {}


@pytest.mark.parametrize("key", ["two s3crets", "s3cret\r\nX-Evil: 1", "s3crét", "s3cret\x00"])
def test_a_key_that_cannot_be_sent_is_refused_without_repeating_it(key) -> None:
    with pytest.raises(ValueError, match="API key must be one word") as caught:
        RewardClient("http://localhost:8080", api_key=key)
    assert "s3cr" not in str(caught.value)


def test_a_url_with_a_password_leaves_no_room_for_a_key() -> None:
    with pytest.raises(ValueError, match="would take the place of the API key"):
        RewardClient("http://user:password@localhost:8080", api_key="s3cret")


@pytest.mark.parametrize("client", [RewardClient, AsyncRewardClient])
def test_a_client_does_not_show_its_key(client) -> None:
    connected = client("http://localhost:8080", api_key="s3cret")
    assert "s3cret" not in repr(connected) + str(connected)
    assert "s3cret" not in repr(connected._http.headers)
