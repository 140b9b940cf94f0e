"""TLS presentation language (RFC 8446, section 3): big-endian, every length bounded."""

from __future__ import annotations

from collections.abc import Collection

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


def opaque8(content: bytes) -> bytes:
    """Bytes behind a one-byte length."""
    return u8(len(content)) + content


def opaque16(content: bytes) -> bytes:
    """Bytes behind a two-byte length."""
    return u16(len(content)) + content


def opaque32(content: bytes) -> bytes:
    """Bytes behind a four-byte length."""
    return u32(len(content)) + content


class Reader:
    """Reads one message from its start; whatever does not fit raises DecodeError.

    A length is compared with what is there before anything is copied, so a message can ask for no
    more memory than it has bytes.
    """

    def __init__(self, message: bytes, name: str) -> None:
        self._message, self._name, self._at = message, name, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._at + count
        if end > len(self._message):
            raise DecodeError(
                f"{self._name}: ends after {len(self._message)} bytes, too early"
            )
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

    def inside16(self, name: str) -> Reader:
        """A reader of the bytes behind a two-byte length."""
        return Reader(self.opaque16(), name)

    def inside32(self, name: str) -> Reader:
        """A reader of the bytes behind a four-byte length."""
        return Reader(self.opaque32(), name)

    def nothing16(self, what: str) -> None:
        """Refuse an extension: none is known."""
        if self.opaque16():
            raise DecodeError(f"{self._name}: an unknown {what}")

    def nothing32(self, what: str) -> None:
        """Refuse what must be empty."""
        if self.opaque32():
            raise DecodeError(f"{self._name}: an unknown {what}")

    def choice(self, width: int, known: Collection[int], what: str) -> int:
        """The next number, one of `known`."""
        number = self.number(width)
        if number not in known:
            raise DecodeError(f"{self._name}: {what} {number} is not known")
        return number

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return len(self._message) - self._at

    def end(self) -> None:
        """Refuse anything that follows."""
        if self.left:
            raise DecodeError(f"{self._name}: {self.left} bytes follow its end")
