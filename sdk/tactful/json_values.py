"""Results of the public API as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from fractions import Fraction


class JsonResult:
    """Base of result classes: a dataclass that can be converted to JSON values."""

    __slots__ = ()

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values, by their names.

        Enum members become their code, which never changes. Times become ISO 8601
        strings in UTC, fractions become strings such as "1/3", and sets sorted lists.
        """
        return _fields(self)


def json_value(value: object) -> object:
    """Return `value` as a JSON value; raise TypeError if it has none."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, JsonResult):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): json_value(member) for key, member in value.items()}
    if isinstance(value, Set):
        return [json_value(member) for member in sorted(value)]
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [json_value(member) for member in value]
    raise TypeError(f"{type(value).__name__} has no JSON value")


def _fields(value: object) -> dict[str, object]:
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} is not a dataclass")
    return {
        field.name: json_value(getattr(value, field.name)) for field in fields(value)
    }
