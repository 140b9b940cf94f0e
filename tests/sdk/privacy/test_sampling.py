"""Only amplification that is proved is accounted."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.privacy import pairs
from tactful.privacy.mechanism import (
    Adjacency,
    Sampling,
)
from tactful.privacy.sampling import SampledRounds


def rounds(**changes: object) -> SampledRounds:
    fields: dict[str, object] = {
        "sampling": Sampling.DEVICE_COIN,
        "mu2": Fraction(1),
        "rate": Fraction(1, 100),
        "rounds": 1,
        "adjacency": Adjacency.ZERO_OUT,
        "aggregator_sees": False,
    }
    return SampledRounds(**{**fields, **changes})


@pytest.mark.parametrize(
    "refused",
    [
        {"aggregator_sees": True},
        {"sampling": Sampling.SHUFFLED},
        {"sampling": Sampling.ALL},
        {"sampling": Sampling.FIXED_SIZE},
        {"adjacency": Adjacency.REPLACE_ONE},
    ],
)
def test_amplification_without_a_proof_is_refused(
    refused: dict[str, object],
) -> None:
    with pytest.raises(InvalidInput, match=r"^sampling: "):
        rounds(**refused).epsilon(1e-5)


def test_fixed_size_sampling_is_never_accounted_as_poisson_sampling() -> None:
    """privacy.md 2.1: 3.03 against 0.209 at q = 0.01, s = 1 (vectors' README)."""
    fixed = rounds(
        sampling=Sampling.FIXED_SIZE, mu2=Fraction(4), adjacency=Adjacency.REPLACE_ONE
    ).epsilon(1e-5)

    assert fixed == pytest.approx(3.03, abs=0.01)
    assert fixed > 10 * rounds().epsilon(1e-5)


@given(
    mu2=st.fractions("1/100", 4),
    rate=st.fractions("1/1000", "1/2"),
    steps=st.integers(1, 5),
)
def test_sampled_rounds_never_cost_more_than_full_ones(
    mu2: Fraction, rate: Fraction, steps: int
) -> None:
    sampled = rounds(mu2=mu2, rate=rate, rounds=steps).epsilon(1e-6)

    full = pairs.gaussian(math.sqrt(mu2)).epsilon(1e-6, steps)
    assert sampled <= full + 1e-3
