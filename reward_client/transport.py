"""Where a client connects to, and how it says who it is."""

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


def credentials(api_key: str | None, *, url: httpx.URL) -> dict[str, str]:
    """The headers that carry a key. Raises `ValueError`, which does not repeat it, for a key that cannot be sent."""
    if api_key is None or not (key := api_key.strip()):  # a key read from a file ends in a line break
        return {}
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("the API key must be one word of printable ASCII characters")
    if url.userinfo:  # httpx would send them in the same header
        raise ValueError("the URL names a user, whose password would take the place of the API key")
    return {"Authorization": f"Bearer {key}"}


def ask_environment_for_proxies(url: httpx.URL) -> bool:
    """False for a service on this machine, which no proxy named in the environment can reach."""
    try:
        return not ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return url.host != "localhost"
