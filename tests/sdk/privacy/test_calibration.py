"""Calibrated noise satisfies the claim and wastes little, for every placement."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.privacy import rdp
from tactful.privacy.accountant import claim, epsilon_from_rho, rho_for
from tactful.privacy.calibration import (
    MISSING,
    epsilon_with_missing_noise,
    largest_rho,
    noise_for,
)
from tactful.privacy.discrete_gaussian import NoiseTable, largest_draw
from tactful.privacy.mechanism import GaussianRelease, Placement

DELTA = 1e-6
placements = st.sampled_from(list(Placement))


def release(
    placement: Placement,
    *,
    norm_bound: int,
    dimension: int,
    epsilon: float,
    honest: int,
) -> GaussianRelease:
    """One round that spends all of (epsilon, DELTA)."""
    family, sigma2 = noise_for(
        placement,
        norm_bound=norm_bound,
        dimension=dimension,
        epsilon=epsilon,
        delta=DELTA,
        share=1.0,
        honest=honest,
    )
    return GaussianRelease(
        norm_bound=norm_bound,
        sigma2=sigma2,
        family=family,
        dimension=dimension,
        placement=placement,
        n_min=honest,
    )


@given(
    placement=placements,
    norm_bound=st.integers(400, 10**6),
    dimension=st.sampled_from([64, 1024, 16_384]),
    epsilon=st.floats(0.3, 10),
    honest=st.integers(1, 3000),
)
def test_calibrated_noise_satisfies_the_claim_and_wastes_little(
    placement: Placement, norm_bound: int, dimension: int, epsilon: float, honest: int
) -> None:
    one = release(
        placement,
        norm_bound=norm_bound,
        dimension=dimension,
        epsilon=epsilon,
        honest=honest,
    )
    found = claim([one], DELTA).headline

    assert found <= epsilon * (1 + 1e-9)
    if one.sigma2 > 40:  # of few squared levels a step of the search is a large part
        assert found >= epsilon * 0.995


@given(
    epsilon=st.floats(0.1, 10),
    honest=st.integers(2, 400),
    dimension=st.integers(1, 5000),
)
def test_noise_in_shares_costs_what_the_theorem_states(
    epsilon: float, honest: int, dimension: int
) -> None:
    """Kairouz, Liu, Steinke 2021, Theorem 1, term by term in another order of operations."""
    one = release(
        Placement.DEVICES,
        norm_bound=20_000,
        dimension=dimension,
        epsilon=epsilon,
        honest=honest,
    )
    s2, n, d = float(one.sigma2), honest, dimension
    tau = 10 * sum(
        math.exp(-2 * math.pi**2 * s2 * (1 - 1 / (k + 1))) for k in range(1, n)
    )
    shift = math.sqrt(one.norm_bound / n / s2)
    gap = min(math.sqrt(shift**2 + tau * d / 2), shift + tau * math.sqrt(d))

    assert float(one.rho) == pytest.approx(gap**2 / 2, abs=2**-23)
    assert float(one.rho) >= gap**2 / 2 * (1 - 1e-12)
    assert rdp.epsilon(rdp.gaussian(one.rho), DELTA) >= claim([one], DELTA).headline


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0])
def test_local_noise_alone_is_as_private_as_claimed_by_its_exact_law(
    epsilon: float,
) -> None:
    """One coordinate, all of the distance in it: the privacy loss summed over the whole table."""
    one = release(
        Placement.LOCAL, norm_bound=49, dimension=1, epsilon=epsilon, honest=1
    )
    masses = NoiseTable.of(one.family, one.sigma2).masses()
    shift = 7
    first, second = np.pad(masses, (0, shift)), np.pad(masses, (shift, 0))

    delta = np.maximum(first - math.exp(epsilon) * second, 0).sum()

    assert delta <= DELTA
    assert one.rho == Fraction(49) / (2 * one.sigma2)


def test_with_fewer_honest_devices_each_adds_more_noise() -> None:
    sigmas = [
        release(
            Placement.DEVICES, norm_bound=9000, dimension=64, epsilon=1.0, honest=honest
        ).sigma2
        for honest in (1, 10, 100, 1000)
    ]

    assert sigmas == sorted(sigmas, reverse=True)
    assert sigmas[0] == pytest.approx(10 * sigmas[1], rel=0.01)
    assert sigmas[-1] >= 1  # below one level the sum is no Gaussian


def test_a_share_below_one_level_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^sigma2: "):
        GaussianRelease(
            norm_bound=9,
            sigma2=Fraction(1, 2),
            family="discrete_gaussian",
            dimension=64,
            placement=Placement.DEVICES,
            n_min=100,
        )


def test_the_sum_of_shares_follows_the_convolved_law() -> None:
    """Chi-square of 40,000 sums of 20 draws; |z| < 5, once in 10^6; the seed is fixed."""
    table = NoiseTable.of("discrete_gaussian", Fraction(3))
    random = np.random.default_rng(4)
    drawn = table.sample(40_000 * 20, random.bytes).reshape(40_000, 20).sum(axis=1)
    law = np.ones(1)
    for _ in range(20):
        law = np.convolve(law, table.masses())

    expected = 40_000 * law
    observed = np.bincount(drawn - 20 * table.lowest, minlength=len(law))
    common = expected >= 10
    chi2 = float((np.square(observed - expected)[common] / expected[common]).sum())
    freedom = int(common.sum())

    assert abs(chi2 - freedom) / math.sqrt(2 * freedom) < 5
    assert float(drawn.var()) == pytest.approx(20 * float(table.variance), rel=0.05)


@given(sigma2=st.fractions(Fraction(1, 16), 10**4))
def test_no_draw_exceeds_the_largest_draw(sigma2: Fraction) -> None:
    table = NoiseTable.of("discrete_gaussian", sigma2)

    lowest, highest = (
        table.sample(1, lambda n, byte=byte: byte * n)[0] for byte in (b"\0", b"\xff")
    )

    assert -largest_draw(sigma2) <= lowest < 0 < highest == largest_draw(sigma2)


@given(epsilon=st.floats(0.01, 30), delta=st.sampled_from([1e-5, 1e-6, 1e-9]))
def test_rho_for_is_the_inverse_of_the_conversion(epsilon: float, delta: float) -> None:
    rho = rho_for(epsilon, delta)

    assert epsilon_from_rho(rho, delta) <= epsilon
    assert epsilon_from_rho(rho * 1.0001, delta) > epsilon
    assert largest_rho(epsilon, delta, "discrete_gaussian") == rho
    assert largest_rho(epsilon, delta, "rounded_gaussian") > rho


def test_missing_noise_costs_what_the_specification_states() -> None:
    """privacy.md 1.4 at epsilon 1, delta 1e-5: 1, 1.06, 1.22, 1.47, 3.62."""
    mu = Fraction(1) / Fraction("3.730631634816")  # epsilon 1 at 1e-5 (Balle, Wang)
    found = [
        round(epsilon_with_missing_noise(mu**2 / 2, 1e-5, part), 2) for part in MISSING
    ]

    assert found == [1.0, 1.06, 1.22, 1.47, 3.62]
