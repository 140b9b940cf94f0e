"""JSON that remembers on which line each value stood, so that an error can say where it is."""

from __future__ import annotations

import json
import re

from tactful.errors import InvalidInput

Path = tuple[str | int, ...]
_SPACE = re.compile(r"[ \t\r\n]*")
_scalar = json.JSONDecoder(parse_constant=lambda word: _refuse(word)).raw_decode
MAX_DEPTH = 32


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is no JSON number")


class Located:
    """One parsed document and the line of every path in it."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.lines: dict[Path, int] = {}
        self.value = self._value((), 0)
        self._skip()
        if self._at < len(text):
            raise self._wrong("something follows the end of the document")

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def _value(self, path: Path, depth: int) -> object:
        self._skip()
        self.lines[path] = self._line()
        if depth > MAX_DEPTH:
            raise self._wrong("the document is nested too deeply")
        if self._text[self._at : self._at + 1] == "{":
            return self._object(path, depth)
        if self._text[self._at : self._at + 1] == "[":
            return self._list(path, depth)
        return self._plain()

    def _plain(self) -> object:
        try:
            value, self._at = _scalar(self._text, self._at)
        except ValueError as wrong:
            raise self._wrong("a JSON value is missing or wrong here") from wrong
        return value

    def _object(self, path: Path, depth: int) -> dict[str, object]:
        members: dict[str, object] = {}
        self._at += 1
        while not self._closed("}", first=not members):
            self._skip()
            line, name = self._line(), self._plain()
            if not isinstance(name, str) or name in members:
                raise self._wrong(f"{name!r} is no field name, or stands twice")
            self._expect(":")
            members[name] = self._value((*path, name), depth + 1)
            self.lines[(*path, name)] = line
        return members

    def _list(self, path: Path, depth: int) -> list[object]:
        entries: list[object] = []
        self._at += 1
        while not self._closed("]", first=not entries):
            entries.append(self._value((*path, len(entries)), depth + 1))
        return entries

    def _closed(self, end: str, *, first: bool) -> bool:
        self._skip()
        if self._text[self._at : self._at + 1] == end:
            self._at += 1
            return True
        if not first:
            self._expect(",")
        return False

    def _expect(self, sign: str) -> None:
        self._skip()
        if self._text[self._at : self._at + 1] != sign:
            raise self._wrong(f"{sign!r} is missing here")
        self._at += 1

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _wrong(self, problem: str) -> InvalidInput:
        return InvalidInput(
            f"rules: line {self._line()}", problem, "correct the JSON there"
        )
