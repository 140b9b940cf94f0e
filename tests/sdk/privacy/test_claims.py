"""What may be claimed of sampled rounds and of shared noise, and what is refused."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.privacy import pairs
from tactful.privacy.calibration import MISSING, epsilon_missing
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.mechanism import (
    Adjacency,
    GaussianRelease,
    LaplaceRelease,
    Placement,
    Sampling,
    digest,
)
from tactful.privacy.sampling import SampledRounds
from tactful.privacy.shares import NoiseShares

RELEASE = GaussianRelease(
    norm_bound=900, sigma2=Fraction(81, 2), family="rounded_gaussian", dimension=64
)


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
def test_an_amplification_without_a_proof_is_refused(
    refused: dict[str, object],
) -> None:
    with pytest.raises(InvalidInput, match=r"^sampling: "):
        rounds(**refused).epsilon(1e-5)


def test_a_fixed_size_is_never_accounted_as_a_coin() -> None:
    """privacy.md 2.1: 3.03 against 0.209 at q = 0.01, s = 1 (vectors' README)."""
    fixed = rounds(
        sampling=Sampling.FIXED_SIZE, mu2=Fraction(4), adjacency=Adjacency.REPLACE_ONE
    ).epsilon(1e-5)

    assert fixed == pytest.approx(3.03, abs=0.01)
    assert fixed > 10 * rounds().epsilon(1e-5)


def test_shares_meet_the_vectors(shared: Path) -> None:
    content = (
        shared / "vectors" / "dp" / "distributed_discrete_gaussian.json"
    ).read_text()
    for row in json.loads(content)["rows"]:
        shares = NoiseShares(
            norm_bound=1,
            sigma2=Fraction(row["sigma_local"]) ** 2,
            dimension=1,
            honest=row["n"],
        )
        assert shares.tau == pytest.approx(row["tau"], rel=1e-9)
        assert shares.rho == pytest.approx(row["rho_kairouz_bound_d1"], rel=1e-9)


def test_summed_shares_lose_just_what_their_exact_law_says(shared: Path) -> None:
    content = (
        shared / "vectors" / "dp" / "distributed_discrete_gaussian.json"
    ).read_text()
    for row in json.loads(content)["rows"][::3]:
        masses = NoiseTable.of(
            "discrete_gaussian", Fraction(row["sigma_local"]) ** 2
        ).masses()
        law = np.ones(1)
        for _ in range(row["n"]):
            law = np.convolve(law, masses)
            kept = np.flatnonzero(law > 1e-300)
            law = law[kept[0] : kept[-1] + 1]
        found = pairs.moved(law, 1).epsilon(row["delta"])
        assert found == pytest.approx(row["eps_exact_1d"], abs=1e-6)


def test_a_share_below_one_level_carries_no_claim() -> None:
    shares = NoiseShares(norm_bound=9, sigma2=Fraction(1, 4), dimension=64, honest=100)

    with pytest.raises(InvalidInput, match=r"^sigma2: "):
        shares.checked()


def test_in_many_dimensions_the_difference_to_a_gaussian_counts() -> None:
    """privacy.md 1.4: tau sqrt(d) at d = 16,384 and n = 1,000 is 0.073 at sigma 1."""
    found = [
        NoiseShares(
            norm_bound=1, sigma2=Fraction(s) ** 2, dimension=16_384, honest=1000
        )
        for s in ("1", "1.25", "2")
    ]

    assert found[0].tau * 128 == pytest.approx(0.073, rel=0.02)
    assert found[1].tau * 128 == pytest.approx(2.6e-4, rel=0.05)
    assert found[2].rho == pytest.approx(1 / 8000, rel=1e-6)


def test_missing_noise_costs_what_the_design_says() -> None:
    """privacy.md 1.4 at epsilon 1, delta 1e-5: 1, 1.06, 1.22, 1.47, 3.62."""
    mu = Fraction(1) / Fraction("3.730631634816")  # epsilon 1 at 1e-5 (Balle, Wang)
    found = [round(epsilon_missing(mu**2 / 2, 1e-5, part), 2) for part in MISSING]

    assert found == [1.0, 1.06, 1.22, 1.47, 3.62]


@pytest.mark.parametrize("scheme", [Sampling.DEVICE_COIN, Sampling.SHUFFLED])
def test_no_release_is_charged_less_because_of_sampling(scheme: Sampling) -> None:
    with pytest.raises(InvalidInput, match="sampling"):
        GaussianRelease(**{**vars(RELEASE), "sampling": scheme})


def test_only_discrete_noise_can_be_added_in_shares() -> None:
    with pytest.raises(InvalidInput, match="family"):
        GaussianRelease(**{**vars(RELEASE), "placement": Placement.DEVICES})


@given(
    bound=st.integers(1, 10**9),
    sigma2=st.fractions("1/1000", 10**9),
    adjacency=st.sampled_from(list(Adjacency)),
)
def test_a_release_is_its_event(
    bound: int, sigma2: Fraction, adjacency: Adjacency
) -> None:
    release = GaussianRelease(
        norm_bound=bound,
        sigma2=sigma2,
        family="rounded_gaussian",
        dimension=9,
        adjacency=adjacency,
    )

    read = GaussianRelease.from_event(json.loads(json.dumps(release.event())))

    assert read == release
    assert digest(read.event()) == digest(release.event())


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma2": 0.5},
        {"sigma2": "-1/2"},
        {"sigma2": "1/0"},
        {"norm_bound": 1.0},
        {"norm_bound": True},
        {"adjacency": "add_remove"},
        {"family": "laplace"},
        {"colour": "red"},
    ],
)
def test_a_damaged_event_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=f"{next(iter(wrong))}"):
        GaussianRelease.from_event({**RELEASE.event(), **wrong})


def test_a_laplace_release_costs_its_pure_epsilon(shared: Path) -> None:
    content = (shared / "vectors" / "dp" / "discrete_laplace_opendp.json").read_text()
    for row in json.loads(content)["rows"]:
        release = LaplaceRelease(
            sensitivity1=row["sensitivity"], scale=Fraction(row["scale"]), dimension=1
        )
        assert float(release.epsilon) == pytest.approx(row["eps_pure"], abs=1e-9)
        assert release.rho == release.epsilon**2 / 2


def test_replacing_moves_a_count_twice_as_far() -> None:
    zeroed, replaced = (
        LaplaceRelease(
            sensitivity1=1, scale=Fraction(4), dimension=1, adjacency=kind
        ).epsilon
        for kind in Adjacency
    )

    assert replaced == 2 * zeroed == Fraction(1, 2)


@given(
    mu2=st.fractions("1/100", 4),
    rate=st.fractions("1/1000", "1/2"),
    steps=st.integers(1, 5),
)
def test_amplified_rounds_never_cost_more_than_full_ones(
    mu2: Fraction, rate: Fraction, steps: int
) -> None:
    sampled = rounds(mu2=mu2, rate=rate, rounds=steps).epsilon(1e-6)

    full = pairs.gaussian(math.sqrt(mu2)).epsilon(1e-6, steps)
    assert sampled <= full + 1e-3
