"""The TLS presentation language (RFC 8446, section 3): big-endian, with bounded lengths."""

from __future__ import annotations

from collections.abc import Collection

from tactful.errors import DecodeError


def u8(value: int) -> bytes:
    """Return one byte."""
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    """Return two bytes."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Return four bytes."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Return eight bytes."""
    return value.to_bytes(8, "big")


def opaque8(content: bytes) -> bytes:
    """Return `content` after its length in one byte."""
    return u8(len(content)) + content


def opaque16(content: bytes) -> bytes:
    """Return `content` after its length in two bytes."""
    return u16(len(content)) + content


def opaque32(content: bytes) -> bytes:
    """Return `content` after its length in four bytes."""
    return u32(len(content)) + content


class Reader:
    """Reader of one message from its start; it raises DecodeError for a wrong one.

    A length is compared with the remaining bytes before anything is copied, so that a
    message cannot request more memory than it has bytes.
    """

    def __init__(self, message: bytes, name: str) -> None:
        self._message = message
        self._name = name
        self._position = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        end = self._position + count
        if end > len(self._message):
            raise DecodeError(
                f"{self._name}: it ends after {len(self._message)} bytes, too early"
            )
        content = self._message[self._position : end]
        self._position = end
        return content

    def number(self, width: int) -> int:
        """Return the next integer of `width` bytes."""
        return int.from_bytes(self.take(width), "big")

    def opaque16(self) -> bytes:
        """Return the bytes after a length of two bytes."""
        return self.take(self.number(2))

    def opaque32(self) -> bytes:
        """Return the bytes after a length of four bytes."""
        return self.take(self.number(4))

    def inside16(self, name: str) -> Reader:
        """Return a reader of the bytes after a length of two bytes."""
        return Reader(self.opaque16(), name)

    def inside32(self, name: str) -> Reader:
        """Return a reader of the bytes after a length of four bytes."""
        return Reader(self.opaque32(), name)

    def nothing16(self, kind: str) -> None:
        """Raise DecodeError unless a field with a length of two bytes is empty."""
        if self.opaque16():
            raise DecodeError(f"{self._name}: an unknown {kind}")

    def nothing32(self, kind: str) -> None:
        """Raise DecodeError unless a field with a length of four bytes is empty."""
        if self.opaque32():
            raise DecodeError(f"{self._name}: an unknown {kind}")

    def choice(self, width: int, allowed: Collection[int], kind: str) -> int:
        """Return the next integer, which must be one of `allowed`."""
        number = self.number(width)
        if number not in allowed:
            raise DecodeError(f"{self._name}: {kind} {number} is not known")
        return number

    @property
    def remaining(self) -> int:
        """The number of bytes that were not read yet."""
        return len(self._message) - self._position

    def end(self) -> None:
        """Raise DecodeError if bytes remain."""
        if self.remaining:
            raise DecodeError(f"{self._name}: {self.remaining} bytes follow its end")
