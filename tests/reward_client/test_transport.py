import pytest

from reward_client.transport import ask_environment_for_proxies, service_url


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
