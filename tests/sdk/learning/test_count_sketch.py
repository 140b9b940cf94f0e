"""Many pairs told in few numbers: a sketch is linear, keeps lengths, and can be read again."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.count_sketch import HASHES, Sketch, split_mix, spread
from tactful.learning.round_parameters import Guide, guide_of
from tactful_aggregator.learning.denoise import Noisy, Spectrum, recovered, symmetric

Floats = NDArray[np.float64]

SIZE = 200
ENTRIES = SIZE * (SIZE - 1) // 2
UPPER = np.triu_indices(SIZE, 1)
shapes = st.tuples(st.integers(1, 300), st.integers(0, 64))
seeds = st.integers(0, 99)


def test_its_hashes_are_the_outputs_of_split_mix() -> None:
    published = [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]  # of seed 0

    assert split_mix(np.arange(3)).tolist() == published


def test_each_number_goes_to_several_buckets_that_are_used_alike_with_both_signs() -> (
    None
):
    hashes = spread(np.arange(100_000), 1_000)

    assert len(hashes) == HASHES
    for buckets, signs in hashes:
        assert np.abs(np.bincount(buckets, minlength=1_000) - 100).max() < 60
        assert set(signs) == {-1.0, 1.0}
        assert abs(signs.mean()) < 0.02
    for first, second in pairwise(hashes):
        assert (first[0] == second[0]).mean() < 0.005
        assert abs((first[1] * second[1]).mean()) < 0.02


@given(shape=shapes, seed=seeds)
def test_a_vector_told_by_its_places_or_whole_has_the_same_sketch(
    shape: tuple[int, int], seed: int
) -> None:
    sketch, draws = Sketch(*shape), np.random.default_rng(seed)
    places = np.flatnonzero(draws.random(sketch.entries) < 0.5)
    whole = np.zeros(sketch.entries)
    whole[places] = draws.standard_normal(len(places))

    told = sketch.of(places, whole[places])

    assert told.shape == (sketch.buckets or sketch.entries,)
    assert np.allclose(told, sketch.of_all(whole))


@given(shape=shapes, seed=seeds)
def test_reading_is_the_transpose_of_telling(shape: tuple[int, int], seed: int) -> None:
    sketch, draws = Sketch(*shape), np.random.default_rng(seed)
    values = draws.standard_normal(sketch.entries)
    told = draws.standard_normal(sketch.buckets or sketch.entries)

    assert np.dot(sketch.of_all(values), told) == pytest.approx(
        np.dot(values, sketch.read(told))
    )


@given(seed=seeds)
def test_a_sketch_keeps_lengths(seed: int) -> None:
    draws = np.random.default_rng(seed)
    vector = draws.gamma(0.1, 1.0, ENTRIES)

    told = Sketch(ENTRIES, 4_096).of_all(vector)

    assert np.linalg.norm(told) == pytest.approx(np.linalg.norm(vector), rel=0.2)


def tastes(strength: float) -> Floats:
    """Pairs of items of five tastes, and a few pairs that go together beyond their taste."""
    draws = np.random.default_rng(3)
    directions, _ = np.linalg.qr(draws.standard_normal((SIZE, 5)))
    matrix = directions @ np.diag([5.0, 4.0, 3.0, 2.5, 2.0]) @ directions.T * strength
    upper: Floats = matrix[UPPER]
    upper[draws.integers(0, ENTRIES, 40)] += strength / 8
    return upper


def told_with_noise(upper: Floats, buckets: int, seed: int) -> Noisy:
    sketch, noise = Sketch(ENTRIES, buckets), np.random.default_rng(seed)
    sums = sketch.of_all(upper)
    noisy = sums + noise.standard_normal(len(sums))
    return recovered(noisy, 1.0, sketch, np.full(SIZE, 1e9))


def error(found: Noisy, upper: Floats) -> float:
    return math.sqrt(float(np.square(found.matrix[UPPER] - upper).mean()))


def test_what_each_pair_tells_by_itself_is_read_as_it_is() -> None:
    upper = tastes(40.0)

    found = told_with_noise(upper, 0, 0)

    assert found.tau == 1.0
    assert error(found, upper) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("strength", [0.0, 40.0, 200.0])
@pytest.mark.parametrize("buckets", [4_096, 8_192])
def test_what_is_read_of_a_sketch_is_off_by_as_much_as_is_said(
    strength: float, buckets: int
) -> None:
    upper = tastes(strength)

    found = told_with_noise(upper, buckets, 1)

    assert error(found, upper) == pytest.approx(found.tau, rel=0.1)


def test_taking_out_what_is_found_tells_the_rest_with_less_noise() -> None:
    upper, sketch = tastes(200.0), Sketch(ENTRIES, 4_096)
    at_once = sketch.read(sketch.of_all(upper))

    found = told_with_noise(upper, 4_096, 2)

    assert error(found, upper) < 0.5 * math.sqrt(
        float(np.square(at_once - upper).mean())
    )


def test_without_its_correction_message_passing_feeds_on_its_own_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upper = tastes(200.0)
    corrected = told_with_noise(upper, 2_048, 1)
    monkeypatch.setattr(Spectrum, "divergence", lambda _: 0.0)

    found = told_with_noise(upper, 2_048, 1)

    assert error(found, upper) > 2 * error(corrected, upper)


@settings(max_examples=10)
@given(seed=seeds)
def test_the_divergence_is_what_entries_move_of_themselves(seed: int) -> None:
    draws, size = np.random.default_rng(seed), 12
    direction = draws.standard_normal(size)
    noisy = symmetric(draws.standard_normal(size * (size - 1) // 2), size)
    noisy += 2 * np.outer(direction, direction)
    moved = 0.0
    for row in range(size):
        for column in range(row, size):
            nudge = np.zeros((size, size))
            nudge[row, column] = nudge[column, row] = 1e-5
            up, down = (Spectrum.of(noisy + one, 1.0).part() for one in (nudge, -nudge))
            moved += (up - down)[row, column] / 2e-5

    assert Spectrum.of(noisy, 1.0).divergence() == pytest.approx(moved, rel=1e-3)


def test_a_guide_with_buckets_survives_being_written_and_read() -> None:
    ones = np.ones(9)
    guide = guide_of(ones, ones, np.arange(9), np.empty((9, 0)), 16)

    assert Guide.from_arrays(guide.arrays()).sketch == Sketch(36, 16)
    for wrong in (
        np.array([-1]),
        np.array([16, 16]),
        np.array([[16]]),
        np.array(["16"]),
    ):
        with pytest.raises(InvalidInput, match="buckets"):
            Guide.from_arrays({**guide.arrays(), "buckets": wrong})
