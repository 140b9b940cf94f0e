"""TLS presentation language (RFC 8446, section 3): big-endian, every length bounded."""

from __future__ import annotations

from tactful.errors import DecodeError


def u8(value: int) -> bytes:
    """One byte."""
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    """Two bytes."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Four bytes."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Eight bytes."""
    return value.to_bytes(8, "big")


def opaque16(content: bytes) -> bytes:
    """Bytes behind a two-byte length."""
    return u16(len(content)) + content


def opaque32(content: bytes) -> bytes:
    """Bytes behind a four-byte length."""
    return u32(len(content)) + content


class Reader:
    """Reads one message from its start; whatever does not fit raises DecodeError."""

    def __init__(self, message: bytes, name: str) -> None:
        self._message, self._name, self._at = message, name, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._at + count
        if end > len(self._message):
            raise DecodeError(f"{self._name}: ends after {len(self._message)} bytes, too early")
        self._at, taken = end, self._message[self._at : end]
        return taken

    def number(self, width: int) -> int:
        """The next whole number, `width` bytes wide."""
        return int.from_bytes(self.take(width), "big")

    def opaque16(self) -> bytes:
        """The bytes behind a two-byte length."""
        return self.take(self.number(2))

    def opaque32(self) -> bytes:
        """The bytes behind a four-byte length."""
        return self.take(self.number(4))

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return len(self._message) - self._at

    def end(self) -> None:
        """Refuse anything that follows."""
        if self.left:
            raise DecodeError(f"{self._name}: {self.left} bytes follow its end")
