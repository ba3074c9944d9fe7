"""Hosts and ports in text: an IPv6 address is written in brackets."""

from __future__ import annotations


def host_in_url(host: str) -> str:
    """Write a host as it stands in a URL."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def bare_host(host: str) -> str:
    """Write a host as sockets take it."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def host_and_port(host: str, port: int | str) -> str:
    """Write a host with a port."""
    return f"{host_in_url(host)}:{port}"
