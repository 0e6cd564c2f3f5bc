"""Where a client connects to."""

import ipaddress

import httpx


def ask_environment_for_proxies(base_url: str) -> bool:
    """False for a service on this machine, which no proxy named in the environment can reach."""
    host = httpx.URL(base_url).host
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
