"""Field64 and Field128: the laws of whole numbers mod p, and their bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import DecodeError
from tactful.vdaf import ntt
from tactful.vdaf.field import LIMB, Field
from tactful.vdaf.field64 import FIELD64
from tactful.vdaf.field128 import FIELD128

FIELDS = [FIELD64, FIELD128]
fields = pytest.mark.parametrize("field", FIELDS, ids=["Field64", "Field128"])
EDGES = (0, 1, 2, 2**21, 2**22 - 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 2**127)


def edges(field: Field) -> list[int]:
    p = field.modulus
    return sorted(
        {value % p for value in (*EDGES, p - 1, p - 2, (p - 1) // 2, (p + 1) // 2)}
    )


def residues(field: Field) -> st.SearchStrategy[int]:
    return st.one_of(st.sampled_from(edges(field)), st.integers(0, field.modulus - 1))


def vectors(field: Field, most: int = 20) -> st.SearchStrategy[list[int]]:
    return st.lists(residues(field), min_size=1, max_size=most)


@fields
def test_every_pair_of_edges_is_computed_as_whole_numbers_are(field: Field) -> None:
    pairs = [(one, other) for one in edges(field) for other in edges(field)]
    ones, others = (field.constants(side) for side in zip(*pairs, strict=True))

    for computed, expected in (
        (field.add(ones, others), [a + b for a, b in pairs]),
        (field.subtract(ones, others), [a - b for a, b in pairs]),
        (field.multiply(ones, others), [a * b for a, b in pairs]),
    ):
        assert field.integers(computed) == [value % field.modulus for value in expected]


@given(data=st.data(), field=st.sampled_from(FIELDS))
def test_products_and_sums_are_those_of_whole_numbers(
    data: st.DataObject, field: Field
) -> None:
    ones = data.draw(vectors(field))
    others = data.draw(
        st.lists(residues(field), min_size=len(ones), max_size=len(ones))
    )
    left, right = field.constants(ones), field.constants(others)

    product = field.multiply(left, right)
    total = field.total(field.reshape(product, 1, -1))

    expected = [a * b for a, b in zip(ones, others, strict=True)]
    assert field.integers(product) == [value % field.modulus for value in expected]
    assert field.integers(total) == [sum(expected) % field.modulus]


@fields
@pytest.mark.parametrize("inner", [1, 3, 700, 2100])
def test_a_product_of_matrices_is_exact_however_long_the_sums(
    field: Field, inner: int
) -> None:
    p, generator = field.modulus, np.random.default_rng(inner)
    rows = [
        [int.from_bytes(generator.bytes(16), "big") % p for _ in range(inner)]
        for _ in "ab"
    ]
    extreme = [(p - 1) // 2] * inner

    left = field.reshape(field.constants(rows[0] + extreme), 2, inner)
    right = field.reshape(field.constants(rows[1] + extreme), 2, inner).swapaxes(-1, -2)
    product = field.matmul(left, right)

    expected = [
        sum(a * b for a, b in zip(one, other, strict=True)) % p
        for one in (rows[0], extreme)
        for other in (rows[1], extreme)
    ]
    assert field.integers(field.reshape(product, -1)) == expected


@given(data=st.data(), field=st.sampled_from(FIELDS))
def test_limbs_are_balanced_and_say_what_the_element_is(
    data: st.DataObject, field: Field
) -> None:
    values = data.draw(vectors(field))

    limbs = field.cut(field.constants(values))

    assert all(np.abs(limb).max() <= 1 << (LIMB - 1) for limb in limbs)
    for place, value in enumerate(values):
        whole = sum(int(limb[place]) << (LIMB * i) for i, limb in enumerate(limbs))
        assert whole % field.modulus == value


@given(values=st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=9))
def test_signed_whole_numbers_become_residues_and_come_back(values: list[int]) -> None:
    for field in FIELDS:
        inside = field.from_integers(np.array(values))

        assert field.integers(inside) == [value % field.modulus for value in values]
        assert field.signed(inside) == values
    assert (
        FIELD64.to_integers(FIELD64.from_integers(np.array(values))).tolist() == values
    )


@given(data=st.data(), field=st.sampled_from(FIELDS))
def test_elements_travel_little_endian(data: st.DataObject, field: Field) -> None:
    values = data.draw(vectors(field))

    encoded = field.encode(field.constants(values))

    assert encoded == b"".join(value.to_bytes(field.size, "little") for value in values)
    assert field.integers(field.decode(encoded, len(values))) == values


@fields
@pytest.mark.parametrize("over", [0, 1])
def test_an_element_not_below_the_modulus_is_refused(field: Field, over: int) -> None:
    encoded = bytes(field.size) + (field.modulus + over).to_bytes(field.size, "little")

    with pytest.raises(DecodeError, match="modulus"):
        field.decode(encoded, 2)


@fields
@pytest.mark.parametrize("size", [0, 7, 15, 17, 24, 33])
def test_a_share_of_another_size_is_refused(field: Field, size: int) -> None:
    with pytest.raises(DecodeError, match="bytes for 2 elements"):
        field.decode(bytes(size), 2)


@fields
@pytest.mark.parametrize("order", [1, 2, 8, 64])
def test_the_transform_evaluates_at_the_roots_and_back(
    field: Field, order: int
) -> None:
    p, root, generator = field.modulus, field.root(order), np.random.default_rng(order)
    coefficients = [
        int.from_bytes(generator.bytes(16), "big") % p for _ in range(order)
    ]

    def at(point: int) -> int:
        return sum(c * pow(point, i, p) for i, c in enumerate(coefficients)) % p

    values = ntt.evaluate(field, field.constants(coefficients))

    assert pow(root, order, p) == 1
    assert field.integers(values) == [at(pow(root, i, p)) for i in range(order)]
    assert field.integers(ntt.interpolate(field, values)) == coefficients
    odd = field.root(2 * order)
    between = ntt.between(field, values)
    assert field.integers(between) == [at(pow(odd, 2 * i + 1, p)) for i in range(order)]
    weights = ntt.weights(field, field.constants([12345]), order)
    one = field.multiply(weights, field.reshape(values, 1, -1))
    assert field.integers(field.total(one)) == [at(12345)]


@fields
def test_powers_follow_each_other(field: Field) -> None:
    powers = field.powers(field.constants([3, field.modulus - 1]), 11)

    expected = [pow(base, i, field.modulus) for base in (3, -1) for i in range(1, 12)]
    assert field.integers(field.reshape(powers, -1)) == expected


@fields
def test_long_arrays_are_multiplied_block_by_block(field: Field) -> None:
    generator = np.random.default_rng(5)
    column = field.constants([int(x) for x in generator.integers(0, 2**62, 300)])
    row = field.constants([int(x) for x in generator.integers(0, 2**62, 300)])

    table = field.multiply(field.reshape(column, 300, 1), field.reshape(row, 1, 300))

    assert field.shape(table) == (300, 300)
    for place in (0, 7, 299):
        line = field.multiply(field.reshape(column[..., place : place + 1], 1), row)
        assert field.equal(table[..., place, :], line).all()
