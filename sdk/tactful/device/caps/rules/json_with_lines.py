"""JSON parser that records the line of each value, so that errors can name it."""

from __future__ import annotations

import json
import re

from tactful.errors import InvalidInput

Path = tuple[str | int, ...]
_SPACE = re.compile(r"[ \t\r\n]*")
_decode_scalar = json.JSONDecoder(
    parse_constant=lambda word: _reject_constant(word)
).raw_decode
MAX_DEPTH = 32


def _reject_constant(word: str) -> object:
    raise ValueError(f"{word} is not a JSON number")


class Located:
    """One parsed document and the line of every path in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self.lines: dict[Path, int] = {}
        self.value = self._value((), 0)
        self._skip_space()
        if self._offset < len(text):
            raise self._error_here("something follows the end of the document")

    def line(self, path: Path) -> int | None:
        """Return the line of `path`, or of the nearest value that contains it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def _value(self, path: Path, depth: int) -> object:
        self._skip_space()
        self.lines[path] = self._current_line()
        if depth > MAX_DEPTH:
            raise self._error_here("the document is nested too deeply")
        if self._next_character() == "{":
            return self._object(path, depth)
        if self._next_character() == "[":
            return self._list(path, depth)
        return self._scalar()

    def _next_character(self) -> str:
        return self._text[self._offset : self._offset + 1]

    def _scalar(self) -> object:
        try:
            value, self._offset = _decode_scalar(self._text, self._offset)
        except ValueError as decode_error:
            raise self._error_here(
                "a JSON value is missing or wrong here"
            ) from decode_error
        return value

    def _object(self, path: Path, depth: int) -> dict[str, object]:
        members: dict[str, object] = {}
        self._offset += 1
        while not self._container_ended("}", first=not members):
            self._skip_space()
            line = self._current_line()
            name = self._scalar()
            if not isinstance(name, str) or name in members:
                raise self._error_here(f"{name!r} is not a field name, or occurs twice")
            self._expect(":")
            members[name] = self._value((*path, name), depth + 1)
            self.lines[(*path, name)] = line
        return members

    def _list(self, path: Path, depth: int) -> list[object]:
        entries: list[object] = []
        self._offset += 1
        while not self._container_ended("]", first=not entries):
            entries.append(self._value((*path, len(entries)), depth + 1))
        return entries

    def _container_ended(self, end: str, *, first: bool) -> bool:
        self._skip_space()
        if self._next_character() == end:
            self._offset += 1
            return True
        if not first:
            self._expect(",")
        return False

    def _expect(self, sign: str) -> None:
        self._skip_space()
        if self._next_character() != sign:
            raise self._error_here(f"{sign!r} is missing here")
        self._offset += 1

    def _skip_space(self) -> None:
        space = _SPACE.match(self._text, self._offset)
        self._offset = space.end() if space else self._offset

    def _current_line(self) -> int:
        return self._text.count("\n", 0, self._offset) + 1

    def _error_here(self, problem: str) -> InvalidInput:
        return InvalidInput(
            f"rules: line {self._current_line()}", problem, "correct the JSON there"
        )
