"""Two shares say nothing alone and everything together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tactful.vdaf import additive
from tactful.vdaf.field import Elements
from tactful.vdaf.field64 import FIELD64

MODULUS = FIELD64.modulus

measurements = st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=40).map(np.array)
seeds = st.binary(min_size=32, max_size=32)

# chi-square with 255 degrees of freedom is outside these with probability 5e-7 on either side
LOW, HIGH = 157.0, 382.0


def chi_square(share: Elements) -> float:
    """How far the top bytes of a share are from uniform, 256 cells."""
    counts = np.bincount((share >> np.uint64(56)).astype(int), minlength=256)
    expected = len(share) / 256
    return float(np.sum((counts - expected) ** 2) / expected)


@given(measurement=measurements, seed=seeds, binder=st.binary(max_size=48))
def test_shard_then_expand_then_unshard_is_the_identity(
    measurement: NDArray[np.int64], seed: bytes, binder: bytes
) -> None:
    leader, helper = additive.shard(measurement, seed, binder)
    expanded = additive.expand(helper, binder, len(measurement))

    assert additive.unshard(leader, expanded).tolist() == measurement.tolist()


@given(rows=st.lists(st.lists(st.integers(0, 14), min_size=4, max_size=4), min_size=1, max_size=8))
def test_sums_of_shares_are_shares_of_the_sum(rows: list[list[int]]) -> None:
    leader = helper = np.zeros(4, dtype=np.uint64)
    for number, row in enumerate(rows):
        binder = bytes([number])
        mine, seed = additive.shard(np.array(row), bytes([number]) * 32, binder)
        leader = FIELD64.add(leader, mine)
        helper = FIELD64.add(helper, additive.expand(seed, binder, 4))

    assert additive.unshard(leader, helper).tolist() == np.sum(rows, axis=0).tolist()


def test_another_binder_opens_nothing() -> None:
    measurement = np.arange(16)
    leader, seed = additive.shard(measurement, bytes(32), b"this report")

    opened = additive.unshard(leader, additive.expand(seed, b"another report", 16))

    assert not (opened == measurement).any()


def test_the_leaders_share_alone_looks_uniform_whatever_is_measured() -> None:
    """False alarm once in a million; the seeds are fixed."""
    flat, _ = additive.shard(np.zeros(65_536, dtype=np.int64), b"\1" * 32, b"")
    steep, _ = additive.shard(np.full(65_536, 14), b"\2" * 32, b"")

    assert LOW < chi_square(flat) < HIGH
    assert LOW < chi_square(steep) < HIGH


def test_the_helpers_share_alone_looks_uniform() -> None:
    """False alarm once in a million; the seed is fixed."""
    share = additive.expand(b"\3" * 32, b"", 65_536)

    assert LOW < chi_square(share) < HIGH


def test_the_leaders_share_of_one_measurement_is_as_likely_for_any_other() -> None:
    share = additive.expand(b"\4" * 32, b"", 8)
    other = FIELD64.from_integers(np.arange(8) - 3)

    mask = FIELD64.subtract(other, share)

    assert (FIELD64.add(share, mask) == other).all()
    assert (mask < np.uint64(MODULUS)).all()
