"""The page as HTML without scripts; needs the extra `tactful[person]`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tactful.errors import InvalidInput
from tactful.person.page_content import PageContent

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent
LANGUAGES = ("en", "de")


@cache
def texts(language: str) -> Mapping[str, str]:
    """Return every sentence of the page in one language."""
    if language not in LANGUAGES:
        raise InvalidInput(
            "lang", f"{language!r} is not available", f"use {' or '.join(LANGUAGES)}"
        )
    path = HERE / "texts" / f"{language}.json"
    sentences: dict[str, str] = json.loads(path.read_text("utf-8"))
    return sentences


@cache
def style() -> str:
    """Return the style sheet, which is part of the page."""
    return (HERE / "templates" / "page.css").read_text("utf-8")


def policy() -> str:
    """Return the Content-Security-Policy: the page's own style and forms, nothing else."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def render(
    content: PageContent,
    language: str,
    *,
    token: str = "",
    done: str = "",
    refused: str = "",
) -> str:
    """Return the page; with a `token` it has forms, otherwise it is read-only.

    The token is the secret at the start of all addresses of a live page, and in its
    forms.
    """
    return _template().render(
        content=content,
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
    except ImportError as error:
        raise InvalidInput(
            "person", "the page needs jinja2", "pip install 'tactful[person]'"
        ) from error
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
