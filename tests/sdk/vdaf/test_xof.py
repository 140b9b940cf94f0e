"""A seed's stream, and the elements that are read from it."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.vdaf.field64 import FIELD64
from tactful.vdaf.version import VDAF_08, VDAF_18
from tactful.vdaf.xof import HmacSha256Aes128, Xof, expand

XOFS = [HmacSha256Aes128(), VDAF_18.turboshake, VDAF_08.turboshake]


def test_expansion_passes_over_what_is_not_below_the_modulus() -> None:
    seed, place = (
        (1156).to_bytes(32, "big"),
        148_494,
    )  # by search: one word in 2^32 is >= p
    words = np.frombuffer(XOFS[0].stream(seed, b"", b"", 8 * (place + 3)), dtype="<u8")
    assert int(words[place]) >= FIELD64.modulus

    expanded = expand(XOFS[0], FIELD64, seed, b"", b"", place + 2)

    assert expanded.tolist() == np.delete(words, place).tolist()


@pytest.mark.parametrize("xof", XOFS, ids=["hmac", "turboshake-18", "turboshake-08"])
@given(length=st.integers(0, 50), more=st.integers(0, 50))
def test_a_longer_expansion_only_adds_to_a_shorter_one(
    xof: Xof, length: int, more: int
) -> None:
    seed = bytes(range(xof.seed_bytes))

    longer = expand(xof, FIELD64, seed, b"dst", b"binder", length + more)

    assert (
        longer[:length].tolist()
        == expand(xof, FIELD64, seed, b"dst", b"binder", length).tolist()
    )


@pytest.mark.parametrize("xof", XOFS, ids=["hmac", "turboshake-18", "turboshake-08"])
def test_a_stream_depends_on_seed_tag_and_binder(xof: Xof) -> None:
    seed, other = bytes(xof.seed_bytes), bytes([1]) + bytes(xof.seed_bytes - 1)
    streams = {
        xof.stream(seed, b"ab", b"c", 32),
        xof.stream(other, b"ab", b"c", 32),
        xof.stream(seed, b"a", b"bc", 32),
        xof.stream(seed, b"ab", b"d", 32),
    }

    assert len(streams) == 4


def test_without_the_extra_turboshake_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "Crypto.Hash", None)

    with pytest.raises(InvalidInput, match=r"pip install 'tactful\[vdaf\]'"):
        VDAF_18.turboshake.stream(bytes(32), b"", b"", 1)
