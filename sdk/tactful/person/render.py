"""The page as HTML; needs the extra `tactful[person]`. Nothing in it is a script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tactful.errors import InvalidInput
from tactful.person.story import PageContent

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent
LANGUAGES = ("en", "de")


@cache
def texts(language: str) -> Mapping[str, str]:
    """Every sentence of the page in one language."""
    if language not in LANGUAGES:
        raise InvalidInput(
            "lang", f"{language!r} is not here", f"use {' or '.join(LANGUAGES)}"
        )
    found: dict[str, str] = json.loads(
        (HERE / "texts" / f"{language}.json").read_text("utf-8")
    )
    return found


@cache
def style() -> str:
    """The one style sheet, which stands in the page."""
    return (HERE / "templates" / "page.css").read_text("utf-8")


def policy() -> str:
    """The page's Content-Security-Policy: its own style by hash, its own forms, nothing else."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def render(
    story: PageContent,
    language: str,
    *,
    token: str = "",
    done: str = "",
    refused: str = "",
) -> str:
    """The page; with a `token` it has forms, without it can only be read.

    The token is the secret that all addresses of a live page begin with, and that forms carry.
    """
    return _template().render(
        story=story,
        t=texts(language),
        language=language,
        style=style(),
        token=token,
        base=f"/{token}" if token else "",
        live=bool(token),
        done=done,
        refused=refused,
    )


@cache
def _template() -> Template:
    try:
        from jinja2 import (
            Environment,
            FileSystemLoader,
            StrictUndefined,
            select_autoescape,
        )
    except ImportError as absent:
        raise InvalidInput(
            "person", "the page needs jinja2", "pip install 'tactful[person]'"
        ) from absent
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
