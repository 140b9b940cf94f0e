"""The presentation language: what is written is read back, and nothing beyond it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import DecodeError
from tactful.protocol.dap import codec
from tactful.protocol.dap.codec import Reader

WRITERS = {1: codec.u8, 2: codec.u16, 4: codec.u32, 8: codec.u64}
numbers = st.sampled_from([1, 2, 4, 8]).flatmap(
    lambda width: st.tuples(st.just(width), st.integers(0, 256**width - 1))
)


@given(number=numbers)
def test_a_number_is_big_endian_and_comes_back(number: tuple[int, int]) -> None:
    width, value = number
    written = WRITERS[width](value)

    assert written == value.to_bytes(width, "big")
    assert Reader(written, "number").number(width) == value


@given(parts=st.lists(st.binary(max_size=300), max_size=5))
def test_bytes_behind_their_length_come_back(parts: list[bytes]) -> None:
    message = b"".join(codec.opaque16(part) + codec.opaque32(part) for part in parts)
    reader = Reader(message, "parts")

    assert [(reader.opaque16(), reader.opaque32()) for _ in parts] == [
        (p, p) for p in parts
    ]
    assert reader.remaining == 0
    reader.end()


def test_the_lengths_are_two_and_four_bytes() -> None:
    assert codec.opaque16(b"abc") == b"\x00\x03abc"
    assert codec.opaque32(b"abc") == b"\x00\x00\x00\x03abc"


@pytest.mark.parametrize("length", [b"\xff\xff", b"\x00\x04"])
def test_a_length_beyond_the_message_is_refused(length: bytes) -> None:
    with pytest.raises(DecodeError, match="part: it ends after 5 bytes"):
        Reader(length + b"abc", "part").opaque16()


def test_a_length_of_four_gigabytes_is_refused_without_reading() -> None:
    with pytest.raises(DecodeError, match="too early"):
        Reader(b"\xff" * 4, "part").opaque32()


def test_what_follows_the_end_is_refused() -> None:
    reader = Reader(b"\x01\x02", "byte")
    reader.number(1)

    with pytest.raises(DecodeError, match="byte: 1 bytes follow"):
        reader.end()


@given(
    message=st.binary(max_size=64),
    widths=st.lists(st.sampled_from([1, 2, 4, 8, 16, 32])),
)
def test_whatever_is_read_only_decode_errors_escape(
    message: bytes, widths: list[int]
) -> None:
    reader = Reader(message, "noise")
    try:
        for width in widths:
            reader.number(width)
            reader.opaque16()
            reader.opaque32()
    except DecodeError:
        assert 0 <= reader.remaining <= len(message)
