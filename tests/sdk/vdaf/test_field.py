"""Field64 and its stream: the laws of whole numbers mod p, and the bytes of libprio-rs."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import DecodeError
from tactful.vdaf import field, xof
from tactful.vdaf.field import MODULUS, Elements

HALF = (MODULUS - 1) // 2
EDGES = (0, 1, 2**32 - 1, 2**32, HALF, HALF + 1, MODULUS - 2, MODULUS - 1)

residues = st.one_of(st.sampled_from(EDGES), st.integers(0, MODULUS - 1))
pairs = st.lists(st.tuples(residues, residues), min_size=1, max_size=20)
signed = st.one_of(st.sampled_from([-HALF, -1, 0, 1, HALF]), st.integers(-HALF, HALF))

# The first 64 bytes that `expanded_vec_field128` and the 32 that `derived_seed` hold in libprio-rs,
# src/vdaf/test_vec/XofHmacSha256Aes128.json (Mozilla Public License 2.0).
XOF_SEED = bytes(range(32))
XOF_DST, XOF_BINDER = b"domain separation tag", b"binder string"
XOF_STREAM = bytes.fromhex(
    "e826c9564c620fb63357fbee88dc9bb3de2c41764adb44bea344024e1da124c6"
    "172f208e79762fed92c73cea422b312860008ee80e30f31d2d87840890604f39"
)


def elements(values: list[int]) -> Elements:
    return np.array(values, dtype=np.uint64)


def integers(values: Elements) -> list[int]:
    return [int(value) for value in values]


@given(pairs=pairs)
def test_addition_is_addition_of_whole_numbers_mod_p(pairs: list[tuple[int, int]]) -> None:
    ones, others = (list(side) for side in zip(*pairs, strict=True))

    total = field.add(elements(ones), elements(others))

    assert integers(total) == [(a + b) % MODULUS for a, b in pairs]


@given(pairs=pairs)
def test_subtraction_is_subtraction_of_whole_numbers_mod_p(pairs: list[tuple[int, int]]) -> None:
    ones, others = (list(side) for side in zip(*pairs, strict=True))

    rest = field.subtract(elements(ones), elements(others))

    assert integers(rest) == [(a - b) % MODULUS for a, b in pairs]


def test_every_pair_of_edges_adds_and_subtracts_as_whole_numbers_do() -> None:
    ones, others = (side.ravel() for side in np.meshgrid(elements([*EDGES]), elements([*EDGES])))

    total, rest = field.add(ones, others), field.subtract(ones, others)

    pairs = list(zip(integers(ones), integers(others), strict=True))
    assert integers(total) == [(a + b) % MODULUS for a, b in pairs]
    assert integers(rest) == [(a - b) % MODULUS for a, b in pairs]


@given(values=st.lists(signed, min_size=1, max_size=20))
def test_signed_whole_numbers_become_residues_and_come_back(values: list[int]) -> None:
    inside = field.from_integers(np.array(values, dtype=np.int64))

    assert integers(inside) == [value % MODULUS for value in values]
    assert field.to_integers(inside).tolist() == values


@given(values=st.lists(residues, min_size=1, max_size=20))
def test_elements_travel_as_eight_bytes_each(values: list[int]) -> None:
    encoded = field.encode(elements(values))

    assert encoded == b"".join(value.to_bytes(8, "little") for value in values)
    assert integers(field.decode(encoded, len(values))) == values


@pytest.mark.parametrize("value", [MODULUS, MODULUS + 1, 2**64 - 1])
def test_an_element_not_below_the_modulus_is_refused(value: int) -> None:
    encoded = bytes(8) + value.to_bytes(8, "little")

    with pytest.raises(DecodeError, match="modulus"):
        field.decode(encoded, 2)


@pytest.mark.parametrize("size", [0, 7, 15, 17, 24])
def test_a_share_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(DecodeError, match="bytes for 2 elements"):
        field.decode(bytes(size), 2)


def test_the_stream_begins_as_libprio_does() -> None:
    assert xof.stream(XOF_SEED, XOF_DST, XOF_BINDER, 64) == XOF_STREAM


def test_the_stream_is_libprios_to_its_end(shared: Path) -> None:
    path = shared / "vectors" / "vdaf" / "libprio-rs" / "XofHmacSha256Aes128.json"
    vector = json.loads(path.read_text())
    seed, dst, binder = (bytes.fromhex(vector[name]) for name in ("seed", "dst", "binder"))
    expected = bytes.fromhex(vector["expanded_vec_field128"])

    assert xof.stream(seed, dst, binder, len(expected)) == expected
    assert xof.stream(seed, dst, binder, 32).hex() == vector["derived_seed"]


def test_expansion_reads_the_stream_eight_bytes_an_element() -> None:
    expected = np.frombuffer(XOF_STREAM, dtype="<u8").tolist()

    assert xof.expand(XOF_SEED, XOF_DST, XOF_BINDER, 8).tolist() == expected


def test_expansion_passes_over_what_is_not_below_the_modulus() -> None:
    seed, place = (1156).to_bytes(32, "big"), 148_494  # by search: one word in 2^32 is >= p
    words = np.frombuffer(xof.stream(seed, b"", b"", 8 * (place + 3)), dtype="<u8")
    assert int(words[place]) >= MODULUS

    expanded = xof.expand(seed, b"", b"", place + 2)

    assert expanded.tolist() == np.delete(words, place).tolist()


@given(length=st.integers(0, 50), more=st.integers(0, 50))
def test_a_longer_expansion_only_adds_to_a_shorter_one(length: int, more: int) -> None:
    longer = xof.expand(XOF_SEED, XOF_DST, XOF_BINDER, length + more)

    assert longer[:length].tolist() == xof.expand(XOF_SEED, XOF_DST, XOF_BINDER, length).tolist()
