"""Which addresses anybody on the network could answer for: http to another machine."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from tactful.errors import InvalidInput

HOST = re.compile(
    r"(?P<name>localhost|[0-9.]+|\[[0-9a-f:.]+\])(:[0-9]*)?", re.IGNORECASE
)


def require_protected(field: str, url: str) -> None:
    """Raise InvalidInput naming `field` if `url` is http, unless its host is this machine."""
    if _is_exposed(url):
        problem = f"{url!r} is http to another machine, which anybody on the way can answer for"
        raise InvalidInput(field, problem, "use https://")


def _is_exposed(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # no client can connect to it either
        return False
    return (
        parts.scheme == "http" and parts.netloc != "" and not _is_loopback(parts.netloc)
    )


def _is_loopback(netloc: str) -> bool:
    """Compare strictly: what another parser could read as another host is not loopback."""
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
