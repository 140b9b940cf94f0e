"""A vector becomes bounded whole numbers, and a sum of them becomes the sum of vectors."""

import math
import secrets
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.privacy import rounding
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.rounding import DRAWS
from tactful.protocol.vector_encoding import Encoding, hadamard

SEED = b"a public task id, 32 bytes long."

encodings = st.builds(
    Encoding,
    length=st.integers(1, 300),
    levels=st.sampled_from([2, 4, 14, 16, 254]),
    box=st.integers(1, 5),
    seed=st.binary(min_size=32, max_size=32),
)
finite = st.floats(allow_nan=False, allow_infinity=False)


def unit_vectors(count: int, length: int, seed: int = 0) -> NDArray[np.float64]:
    vectors = np.random.default_rng(seed).standard_normal((count, length))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def squares(encoding: Encoding, measurements: NDArray[np.uint8]) -> list[int]:
    centred = measurements.astype(int) - encoding.levels // 2
    return [sum(int(value) ** 2 for value in row) for row in centred]


@given(encoding=encodings, values=st.data())
@settings(max_examples=100)
def test_no_vector_whatever_exceeds_the_norm_bound(
    encoding: Encoding, values: st.DataObject
) -> None:
    vector = values.draw(arrays.arrays(np.float64, encoding.length, elements=finite))

    measurement = encoding.encode(vector[None, :], secrets.token_bytes)

    assert measurement.max() <= encoding.levels
    assert squares(encoding, measurement)[0] <= encoding.norm_bound


@pytest.mark.parametrize("length", [1, 2, 100, 1024])
@pytest.mark.parametrize("size", [5e-324, 1e-300, 1.0, 1e200, 1.7e308])
def test_hostile_vectors_keep_the_norm_bound(length: int, size: float) -> None:
    encoding = Encoding(length, 14, 3, SEED)
    one_hot, dense = np.zeros(length), np.full(length, size)
    one_hot[0] = -size
    aimed = encoding._signs[:length] * size

    measurements = encoding.encode(
        np.array([one_hot, dense, aimed]), secrets.token_bytes
    )

    assert max(squares(encoding, measurements)) <= encoding.norm_bound
    assert measurements.max() <= 14


@pytest.mark.parametrize("coin", [b"\x00", b"\xff"])
def test_not_even_chosen_coins_exceed_the_norm_bound(coin: bytes) -> None:
    encoding = Encoding(200, 14, 3, SEED)
    taken = []

    def coins(count: int) -> bytes:
        taken.append(count)
        return coin * count

    measurements = encoding.encode(unit_vectors(20, 200), coins)

    assert max(squares(encoding, measurements)) <= encoding.norm_bound
    assert len(taken) <= 20 * DRAWS


def test_without_the_exact_test_chosen_coins_would_exceed_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The removal test: it is the redraw, not the rounding, that keeps the bound."""
    monkeypatch.setattr(rounding, "accepts", lambda rounded, bound: True)

    encoding = Encoding(4096, 2, 3, SEED)
    measurements = encoding.encode(unit_vectors(200, 4096), _outward)

    assert max(squares(encoding, measurements)) > encoding.norm_bound


def _outward(count: int) -> bytes:
    """Coins of which every second rounds up and every other down."""
    return b"\x00\x00\x00\x00\xff\xff\xff\xff" * (count // 8)


def test_the_exact_test_does_not_overflow_in_a_large_encoding() -> None:
    encoding = Encoding(1 << 18, 254, 2, SEED)
    corner = np.full(1 << 18, 127, dtype=np.int64)

    assert (
        127 * 127 * (1 << 18) - (1 << 32)
        < 0
        < encoding.norm_bound
        < 127 * 127 * (1 << 18)
    )
    assert not rounding.accepts(corner, encoding.norm_bound)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused(wrong: float) -> None:
    with pytest.raises(InvalidInput, match="vector"):
        Encoding(3, 14, 3, SEED).encode(
            np.array([[0.0, wrong, 0.0]]), secrets.token_bytes
        )


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\(rows, 4\)"):
        Encoding(4, 14, 3, SEED).encode(np.zeros((1, 3)), secrets.token_bytes)


@pytest.mark.parametrize(
    ("field", "value"), [("length", 0), ("levels", 13), ("levels", 0), ("box", 0)]
)
def test_an_impossible_encoding_names_its_field(field: str, value: int) -> None:
    fields = {"length": 4, "levels": 14, "box": 3, "seed": SEED, field: value}

    with pytest.raises(InvalidInput, match=field):
        Encoding(**fields)


def test_the_bound_is_the_formula_of_the_design() -> None:
    assert Encoding(16_384, 14, 3, SEED).norm_bound == math.floor(
        (c := 14 * 128 / 6) ** 2 + 16_384 / 4 + c + 64
    )
    assert Encoding(9_600, 14, 3, SEED).padded == 16_384


@given(encoding=encodings)
def test_the_bound_covers_the_vector_and_the_box(encoding: Encoding) -> None:
    unit2 = Fraction(encoding.levels**2 * encoding.padded, 4 * encoding.box**2)

    assert encoding.norm_bound <= encoding.levels**2 * encoding.padded // 4
    assert (
        encoding.norm_bound
        >= min(unit2, Fraction(encoding.levels**2 * encoding.padded, 4)) - 1
    )


@pytest.mark.parametrize("length", [100, 1024, 5000])
def test_a_row_does_not_depend_on_its_batch(length: int) -> None:
    encoding = Encoding(length, 14, 3, SEED)
    vectors = unit_vectors(300, length)
    together = encoding.encode(vectors, np.random.default_rng(1).bytes)
    stream = np.random.default_rng(1)

    pieces = [vectors[:1], vectors[1:8], vectors[8:8], vectors[8:263], vectors[263:]]
    apart = np.concatenate([encoding.encode(piece, stream.bytes) for piece in pieces])

    assert np.array_equal(together, apart)


@pytest.mark.parametrize("width", [1, 2, 8, 64, 2048])
def test_the_transform_is_its_own_inverse_and_keeps_bits_in_any_batch(
    width: int,
) -> None:
    rows = np.random.default_rng(3).standard_normal((17, width))

    transformed = hadamard(rows)

    assert np.allclose(hadamard(transformed) / width, rows, atol=1e-12)
    assert np.array_equal(transformed[5:6], hadamard(rows[5:6].copy()))
    assert np.array_equal(hadamard(np.eye(1, width)), np.ones((1, width)))


def test_zero_is_a_level_and_needs_no_coin() -> None:
    encoding = Encoding(50, 14, 3, SEED)

    measurement = encoding.encode(np.zeros((1, 50)), lambda count: b"\x00" * count)

    assert (measurement == 7).all()
    assert not encoding.decode(measurement[0].astype(np.int64), 1).any()


def test_decoding_a_sum_gives_the_sum_without_bias() -> None:
    """4,000 encodings of one vector; 6 standard errors, a false alarm once in 10^6; fixed seed."""
    encoding = Encoding(64, 14, 3, SEED)
    vector = unit_vectors(1, 64)[0]
    count = 4_000

    measurements = encoding.encode(
        np.tile(vector, (count, 1)), np.random.default_rng(2).bytes
    )
    mean = encoding.decode(measurements.sum(axis=0, dtype=np.int64), count) / count

    error = 0.5 / encoding.levels_per_unit / math.sqrt(count)
    assert np.abs(mean - vector).max() < 6 * error


def test_decoding_takes_negative_entries() -> None:
    encoding = Encoding(8, 14, 3, SEED)

    total = np.full(8, -5, dtype=np.int64)

    assert np.isfinite(encoding.decode(total, 3)).all()
    assert np.allclose(encoding.decode(total, 0), -encoding.decode(-total, 0))


def test_a_released_sum_carries_the_declared_noise_on_whole_levels() -> None:
    """Chi-square of 16,384 entries; |z| < 5 is a false alarm once in 10^6; the seed is fixed."""
    encoding = Encoding(16_384, 14, 3, SEED)
    generator = np.random.default_rng(9)
    total = encoding.encode(unit_vectors(3, 16_384), generator.bytes).sum(
        axis=0, dtype=np.int64
    )
    table = NoiseTable.of("rounded_gaussian", Fraction(640**2))

    noisy = total + table.sample(encoding.padded, generator.bytes)

    assert noisy.dtype == np.int64
    error = encoding.decode(noisy, 3) - encoding.decode(total, 3)
    tau = 640 / encoding.levels_per_unit
    chi2 = float(np.square(error / tau).sum())
    assert abs(chi2 - 16_384) / math.sqrt(2 * 16_384) < 5
