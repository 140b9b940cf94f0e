"""The accountant agrees with other implementations, and never claims too little."""

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.privacy.accountant import (
    claim,
    delta_for,
    epsilon_for,
    epsilon_from_rho,
    mu_for,
    mu_from_rho,
    sigma2_for,
)
from tactful.privacy.mechanism import (
    FAMILIES,
    Adjacency,
    Family,
    GaussianRelease,
    Placement,
)

epsilons = st.floats(0.05, 30)
deltas = st.sampled_from([1e-5, 1e-6, 1e-8, 1e-10])
NOT_POSITIVE = [0.0, -1.0, math.nan, math.inf]


def rows(shared: Path, name: str) -> list[dict[str, float]]:
    content = json.loads((shared / "vectors" / "dp" / f"{name}.json").read_text())
    return list(content["rows"])


def release(
    sigma2: int = 1000,
    adjacency: Adjacency = Adjacency.ZERO_OUT,
    family: Family = "rounded_gaussian",
) -> GaussianRelease:
    return GaussianRelease(
        norm_bound=900,
        sigma2=Fraction(sigma2),
        family=family,
        dimension=1024,
        adjacency=adjacency,
    )


def test_composed_gaussians_match_the_vectors(shared: Path) -> None:
    for row in rows(shared, "gaussian_composition"):
        mu = math.sqrt(row["steps"]) / row["noise_multiplier"]

        assert epsilon_for(mu, row["delta"]) == pytest.approx(
            row["eps_exact"], rel=1e-9
        )
        assert epsilon_from_rho(row["rho_zcdp"], row["delta"]) <= row["eps_rdp"] + 1e-9


def test_calibration_matches_the_vectors(shared: Path) -> None:
    for row in rows(shared, "gaussian_calibration"):
        assert 1 / mu_for(row["eps"], row["delta"]) == pytest.approx(
            row["sigma"], rel=1e-9
        )


def test_the_conversion_from_rho_matches_the_vectors(shared: Path) -> None:
    for row in rows(shared, "zcdp_to_approxdp"):
        assert epsilon_from_rho(row["rho"], row["delta"]) == pytest.approx(
            row["eps"], rel=1e-9
        )


def test_the_figures_of_the_specification_hold() -> None:
    found = [round(mu_for(epsilon, 1e-6), 4) for epsilon in (1, 3, 8)]

    assert found == [0.2367, 0.6477, 1.5315]


@given(epsilon=epsilons, delta=deltas)
def test_mu_and_epsilon_are_inverses_on_the_safe_side(
    epsilon: float, delta: float
) -> None:
    mu = mu_for(epsilon, delta)

    assert epsilon_for(mu, delta) <= epsilon * (1 + 1e-12)
    assert epsilon_for(mu, delta) == pytest.approx(epsilon, rel=1e-9)
    assert delta_for(mu, epsilon) == pytest.approx(delta, rel=1e-6)


@given(
    epsilon=epsilons,
    delta=deltas,
    share=st.floats(0.001, 1),
    bound=st.integers(100, 10**7),
)
def test_the_noise_of_a_share_of_the_budget_is_never_too_small(
    epsilon: float, delta: float, share: float, bound: int
) -> None:
    mu = mu_for(epsilon, delta)

    sigma2 = sigma2_for(bound, mu, share)

    assert Fraction(bound) / sigma2 <= Fraction(mu) ** 2 * Fraction(share)
    assert sigma2.denominator & (sigma2.denominator - 1) == 0


@given(rhos=st.lists(st.fractions("1/1000", 2), min_size=1, max_size=6), delta=deltas)
def test_the_conversion_from_rho_never_claims_less_than_the_gaussian(
    rhos: list[Fraction], delta: float
) -> None:
    rho = sum(rhos, Fraction(0))

    assert epsilon_for(mu_from_rho(rho), delta) <= epsilon_from_rho(rho, delta)


def test_a_claim_adds_rho_exactly() -> None:
    releases = [release(900), release(1234), release(7700)]

    claimed = claim(releases, 1e-6)

    assert claimed.rho == sum(one.rho for one in releases)
    assert claimed.epsilon == pytest.approx(
        epsilon_for(math.sqrt(2 * claimed.rho), 1e-6)
    )


def test_replacing_costs_four_times_the_rho_of_zeroing_out() -> None:
    zeroed, replaced = (claim([release(adjacency=kind)], 1e-6) for kind in Adjacency)

    assert replaced.rho == 4 * zeroed.rho
    assert (
        zeroed.epsilon_replace_one == replaced.epsilon == replaced.epsilon_replace_one
    )


def test_the_discrete_family_proves_only_the_conversion_from_rho() -> None:
    claimed = claim([release(), release(family="discrete_gaussian")], 1e-6)

    assert claimed.class_ == "CROSS-CHECKED"
    assert claimed.headline == claimed.epsilon_rho > claimed.epsilon
    assert claim([release()], 1e-6).headline == claim([release()], 1e-6).epsilon


def test_two_adjacencies_in_one_claim_are_refused() -> None:
    with pytest.raises(InvalidInput, match="releases"):
        claim([release(), release(adjacency=Adjacency.REPLACE_ONE)], 1e-6)


def test_a_claim_needs_at_least_one_release() -> None:
    with pytest.raises(InvalidInput, match="releases"):
        claim([], 1e-6)


@pytest.mark.parametrize("epsilon", NOT_POSITIVE)
def test_an_invalid_epsilon_is_refused_by_name(epsilon: float) -> None:
    with pytest.raises(
        InvalidInput, match=r"^epsilon: .*; use a finite number above 0"
    ):
        mu_for(epsilon, 1e-6)


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, 2.0, math.nan, math.inf])
def test_an_invalid_delta_is_refused_by_name(delta: float) -> None:
    for ask in (mu_for, epsilon_for, epsilon_from_rho):
        with pytest.raises(InvalidInput, match=r"^delta: .*; use 1e-6"):
            ask(1.0, delta)


@pytest.mark.parametrize("mu", NOT_POSITIVE)
def test_an_invalid_mu_is_refused_by_name(mu: float) -> None:
    with pytest.raises(InvalidInput, match=r"^mu: "):
        epsilon_for(mu, 1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"norm_bound": 0},
        {"sigma2": Fraction(0)},
        {"family": "laplace"},
        {"adjacency": "add_remove"},
    ],
)
def test_a_release_that_no_proof_covers_is_refused(wrong: dict[str, object]) -> None:
    fields = {**vars(release()), **wrong}

    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        GaussianRelease(**fields)


@pytest.mark.parametrize("families", [FAMILIES[:1], FAMILIES[1:], FAMILIES])
def test_a_claim_is_called_rounded_only_if_all_of_its_noise_is(
    families: tuple[Family],
) -> None:
    claimed = claim([release(family=family) for family in families], 1e-6)

    assert (claimed.family == "rounded_gaussian") == (
        set(families) == {"rounded_gaussian"}
    )


@pytest.mark.parametrize(
    ("placement", "dimension", "resolved", "refused"),
    [
        (Placement.AGGREGATOR, 1, 1e-29, 1e-33),
        (Placement.AGGREGATOR, 16_384, 1e-24, 1e-26),
        (Placement.LOCAL, 16_384, 1e-24, 1e-26),
        (
            Placement.DEVICES,
            16_384,
            1e-22,
            1e-25,
        ),  # a thousand samplers, each of less noise
    ],
)
def test_the_sampling_error_of_every_draw_is_charged_to_delta(
    placement: Placement, dimension: int, resolved: float, refused: float
) -> None:
    """Entries x draws x 2^-128 x (1 + e^epsilon) at sigma 640; a replaced device is dearer."""
    count = 1000 if placement is Placement.DEVICES else 1
    one = GaussianRelease(
        norm_bound=102_400,
        sigma2=Fraction(640**2, count),
        family="discrete_gaussian",
        dimension=dimension,
        placement=placement,
        n_min=1000,
    )

    assert claim([one], resolved).epsilon > 4
    with pytest.raises(InvalidInput, match="below what sampling resolves"):
        claim([one], refused)
