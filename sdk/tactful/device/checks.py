"""Checks of arguments from outside; each raises InvalidInput with field and fix."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, nextafter
from pathlib import Path

from tactful.errors import InvalidInput

MAX_TEXT = 256  # characters; an id is a name, not a document
FINITE = nextafter(inf, 0)  # the largest finite float
SHOWN_CHARACTERS = 60  # of a wrong value in an error message


def shown(value: object) -> str:
    """Return the value as an error message shows it: shortened if it is long."""
    text_of_value = repr(value)
    if len(text_of_value) <= SHOWN_CHARACTERS:
        return text_of_value
    return f"{text_of_value[: SHOWN_CHARACTERS - 3]}..."


def require(holds: bool, field: str, problem: str, fix: str) -> None:
    """Raise InvalidInput unless `holds`."""
    if not holds:
        raise InvalidInput(field, problem, fix)


def number(field: str, value: object, least: float, most: float, fix: str) -> None:
    """Raise InvalidInput unless `value` is a number from `least` to `most`.

    A bool is not a number.
    """
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
    )
    require(fits, field, f"{shown(value)} is out of range or no number", fix)


def whole(field: str, value: object, least: int, most: int, fix: str) -> None:
    """Raise InvalidInput unless `value` is a whole number from `least` to `most`.

    A bool is not a number.
    """
    fits = (
        isinstance(value, int)
        and not isinstance(value, bool)
        and least <= value <= most
    )
    require(fits, field, f"{shown(value)} is out of range or no whole number", fix)


def text(
    field: str, value: object, *, most: float = MAX_TEXT, empty: bool = False
) -> None:
    """Raise InvalidInput unless `value` is a string of at most `most` characters.

    UTF-8 must be able to encode it. An empty string is allowed only with `empty`.
    """
    fits = isinstance(value, str) and (empty or value != "") and len(value) <= most
    is_encodable = fits and (str(value).isascii() or _encodes(str(value)))
    limit = f" of 1 to {most} characters" if most < inf else ""
    require(
        is_encodable, field, f"{shown(value)} is not a valid text", f"use a text{limit}"
    )


def path(field: str, value: object) -> None:
    """Raise InvalidInput unless `value` can name a file: a Path, or a string."""
    fits = isinstance(value, Path) or (isinstance(value, str) and "\0" not in value)
    require(fits, field, f"{shown(value)} is not a path", "name a file")


def flag(field: str, value: object) -> None:
    """Raise InvalidInput unless `value` is a bool: any string would count as True."""
    require(
        isinstance(value, bool),
        field,
        f"{shown(value)} is not true or false",
        "use True or False",
    )


def one_of(field: str, value: object, known: Iterable[str]) -> None:
    """Raise InvalidInput unless `value` is one of the `known` names."""
    names = tuple(known)
    require(
        value in names,
        field,
        f"{shown(value)} is not known",
        f"use one of {', '.join(names)}",
    )


def instance(field: str, value: object, kind: type, fix: str) -> None:
    """Raise InvalidInput unless `value` is an instance of `kind`."""
    require(
        isinstance(value, kind),
        field,
        f"{_type_phrase(value)} is not a {kind.__name__}",
        fix,
    )


def able(field: str, value: object, method: str, fix: str) -> None:
    """Raise InvalidInput unless `value` is an object with the method `method`."""
    has = callable(getattr(value, method, None)) and not isinstance(value, type)
    require(has, field, f"{_type_phrase(value)} has no {method}()", fix)


def names(field: str, values: object) -> frozenset[str]:
    """Return the strings as a set; raise InvalidInput for other values.

    A single string is refused: each of its letters would count as a name.
    """
    require(
        not isinstance(values, str),
        field,
        f"{shown(values)} is a single text",
        "use a list",
    )
    require(
        isinstance(values, Iterable),
        field,
        f"{shown(values)} is not a list",
        "use a list",
    )
    checked = list(values) if isinstance(values, Iterable) else []
    for value in checked:
        text(field, value, empty=True)
    return frozenset(checked)


def _type_phrase(value: object) -> str:
    """Return the type of a value; the value itself may be secret."""
    return f"a value of type {type(value).__name__}"


def _encodes(value: str) -> bool:
    try:
        return bool(value.encode())
    except UnicodeEncodeError:
        return False
