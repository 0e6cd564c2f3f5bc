"""Where a client connects to."""

import ipaddress

import httpx


def service_url(text: str) -> httpx.URL:
    """The service's address. Raises `ValueError` for what is no http(s) URL."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{text!r} is not the URL of a service; write http://host:port")
    return url


def ask_environment_for_proxies(url: httpx.URL) -> bool:
    """False for a service on this machine, which no proxy named in the environment can reach."""
    try:
        return not ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return url.host != "localhost"
