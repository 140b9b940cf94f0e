"""The cost of noise in shares agrees with its exact law."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tactful.errors import InvalidInput
from tactful.privacy import pairs
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.shares import NoiseShares


def test_tau_and_rho_of_shares_match_the_vectors(shared: Path) -> None:
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


def test_the_privacy_loss_of_summed_shares_matches_the_vectors(shared: Path) -> None:
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
        found = pairs.shifted(law, 1).epsilon(row["delta"])
        assert found == pytest.approx(row["eps_exact_1d"], abs=1e-6)


def test_shares_below_one_level_support_no_claim() -> None:
    shares = NoiseShares(norm_bound=9, sigma2=Fraction(1, 4), dimension=64, honest=100)

    with pytest.raises(InvalidInput, match=r"^sigma2: "):
        shares.require_valid()


def test_tau_matters_in_many_dimensions() -> None:
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
