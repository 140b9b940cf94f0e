"""Addresses that are safe to use: everything except http to another machine."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from tactful.errors import InvalidInput

HOST = re.compile(
    r"(?P<name>localhost|[0-9.]+|\[[0-9a-f:.]+\])(:[0-9]*)?", re.IGNORECASE
)


def require_protected(field: str, url: str) -> None:
    """Raise InvalidInput for `field` if `url` is http to another machine."""
    if _is_exposed(url):
        problem = (
            f"{url!r} is http to another machine, where anybody can read and answer"
        )
        raise InvalidInput(field, problem, "use https://")


def _is_exposed(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        # No client can connect to it either.
        return False
    is_http = parts.scheme == "http" and parts.netloc != ""
    return is_http and not _is_loopback(parts.netloc)


def _is_loopback(netloc: str) -> bool:
    """Return True for an address of this machine.

    The comparison is strict: another parser must not read a different host.
    """
    host = HOST.fullmatch(netloc)
    if host is None:
        return False
    name = host["name"].strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
