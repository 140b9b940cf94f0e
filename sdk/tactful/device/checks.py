"""What comes from outside, looked at once: what does not fit is refused by field, with the fix."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, nextafter
from pathlib import Path

from tactful.errors import InvalidInput

MAX_TEXT = 256  # characters; an id is a name, not a document
FINITE = nextafter(inf, 0)
SHOWN = 60  # letters of a wrong value that an error repeats


def shown(value: object) -> str:
    """The value as a sentence may hold it: short, however long it is."""
    told = repr(value)
    return told if len(told) <= SHOWN else f"{told[: SHOWN - 3]}..."


def require(holds: bool, field: str, problem: str, fix: str) -> None:
    """Raise InvalidInput unless it holds."""
    if not holds:
        raise InvalidInput(field, problem, fix)


def number(field: str, value: object, least: float, most: float, fix: str) -> None:
    """Raise InvalidInput unless `value` is a number from `least` to `most`; True is none."""
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
    )
    require(fits, field, f"{shown(value)} is out of range or no number", fix)


def whole(field: str, value: object, least: int, most: int, fix: str) -> None:
    """Raise InvalidInput unless `value` is a whole number from `least` to `most`; True is none."""
    fits = (
        isinstance(value, int)
        and not isinstance(value, bool)
        and least <= value <= most
    )
    require(fits, field, f"{shown(value)} is out of range or no whole number", fix)


def text(
    field: str, value: object, *, most: float = MAX_TEXT, empty: bool = False
) -> None:
    """Raise InvalidInput unless `value` is a text that UTF-8 can hold, of at most `most` letters.

    An `empty` one is none, if that is allowed.
    """
    fits = isinstance(value, str) and (empty or value != "") and len(value) <= most
    whole_letters = fits and (str(value).isascii() or _encodes(str(value)))
    limit = f" of 1 to {most} characters" if most < inf else ""
    require(whole_letters, field, f"{shown(value)} is no name", f"use a text{limit}")


def path(field: str, value: object) -> None:
    """Raise InvalidInput unless `value` can name a file: a Path, or a text."""
    fits = isinstance(value, Path) or (isinstance(value, str) and "\0" not in value)
    require(fits, field, f"{shown(value)} is no path", "name a file")


def flag(field: str, value: object) -> None:
    """Raise InvalidInput unless `value` is True or False: any text would count as yes."""
    require(
        isinstance(value, bool),
        field,
        f"{shown(value)} is no answer",
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
    """Raise InvalidInput unless `value` was made by `kind`."""
    require(isinstance(value, kind), field, f"{_a(value)} is no {kind.__name__}", fix)


def able(field: str, value: object, method: str, fix: str) -> None:
    """Raise InvalidInput unless `value` has the `method` that is asked of it."""
    has = callable(getattr(value, method, None)) and not isinstance(value, type)
    require(has, field, f"{_a(value)} has no {method}()", fix)


def names(field: str, values: object) -> frozenset[str]:
    """The texts as a set; raises InvalidInput for a single text, whose letters would be taken."""
    require(
        not isinstance(values, str), field, f"{shown(values)} is one text", "use a list"
    )
    require(
        isinstance(values, Iterable), field, f"{shown(values)} is no list", "use a list"
    )
    found = list(values) if isinstance(values, Iterable) else []
    for value in found:
        text(field, value, empty=True)
    return frozenset(found)


def _a(value: object) -> str:
    """What kind of thing it is; the thing itself may be a key, or the person's."""
    return f"what was handed in ({type(value).__name__})"


def _encodes(value: str) -> bool:
    try:
        return bool(value.encode())
    except UnicodeEncodeError:
        return False
