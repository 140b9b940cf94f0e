"""The lifetime cap of a device, tested by an oracle that shares no code with the ledger."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.device.network.ledger_quarantine import empty_ledger
from tactful.device.settings import Settings
from tactful.errors import BudgetExhausted
from tactful.privacy.budget import CARRIED, Charge, Ledger
from tactful.privacy.lifetime import lifetime_spending, spent_epsilons
from tactful.privacy.mechanism import Family, GaussianRelease, Placement

DELTA = 1e-6
CLOSE = 1 + 1e-8
UPDATES, METRICS = "share_dp_updates", "share_dp_metrics"
KINDS: list[tuple[Family, Placement]] = [
    ("rounded_gaussian", Placement.AGGREGATOR),
    ("rounded_gaussian", Placement.LOCAL),
    ("discrete_gaussian", Placement.AGGREGATOR),
    ("discrete_gaussian", Placement.LOCAL),
    ("discrete_gaussian", Placement.DEVICES),
]


def zcdp_epsilon(rho: Fraction, delta: float) -> float:
    """Canonne, Kamath, Steinke 2020, Proposition 7, by trying orders: each gives a bound."""
    low, high, least = 1e-4, 1e7, math.inf
    for _ in range(4):  # ever closer around the best one
        above = np.geomspace(low, high, 1_001)
        order = 1 + above
        bounds = order * float(rho) + np.log1p(-1 / order)
        bounds -= (math.log(delta) + np.log(order)) / above
        best = int(bounds.argmin())
        low, high = float(above[max(best - 1, 0)]), float(above[min(best + 1, 1_000)])
        least = min(least, float(bounds[best]))
    return max(least, 0.0)


def gaussian_delta(rho: Fraction, epsilon: float) -> float:
    """Balle, Wang 2018, Theorem 8, with the error function as it is."""
    mu = math.sqrt(2 * rho)

    def above(x: float) -> float:
        return math.erfc(x / math.sqrt(2)) / 2

    return above(epsilon / mu - mu / 2) - math.exp(epsilon) * above(
        epsilon / mu + mu / 2
    )


def keeps(charges: list[Charge], epsilon: float, delta: float) -> bool:
    """Whether (epsilon, delta) is proved for `charges`, by what their names say of the noise."""
    rho = sum((one.rho for one in charges), Fraction(0))
    if not charges:
        return True
    if {one.event.get("family") for one in charges} == {"rounded_gaussian"}:
        return gaussian_delta(rho, epsilon) <= delta * CLOSE
    return zcdp_epsilon(rho, delta) <= epsilon * CLOSE


def charge(
    family: Family, placement: Placement, sigma2: Fraction, purpose: str = UPDATES
) -> Charge:
    release = GaussianRelease(
        norm_bound=400,
        sigma2=sigma2,
        family=family,
        dimension=16,
        placement=placement,
        n_min=50,
    )
    return Charge(
        task_id="", purpose=purpose, rho=release.rho, time=1, event=release.event()
    )


def filled(ledger: Ledger, charges: list[Charge]) -> Ledger:
    """The ledger after everything that it took of `charges`."""
    for one in charges:
        try:
            ledger = ledger.spend(one)
        except BudgetExhausted:
            continue
    return ledger


sigmas = st.builds(
    lambda power, part: Fraction(part * 10**power, 3),
    st.integers(1, 7),
    st.integers(3, 29),
)
charges_of_any_kind = st.lists(
    st.builds(
        lambda kind, sigma2, purpose: charge(*kind, sigma2, purpose),
        st.sampled_from(KINDS),
        sigmas,
        st.sampled_from([UPDATES, METRICS]),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(
    asked=charges_of_any_kind,
    epsilon=st.sampled_from([0.1, 1.0, 3.0, 8.0]),
    part=st.sampled_from([0.2, 0.9, 1.0]),
)
def test_no_mixture_of_charges_exceeds_a_lifetime_or_purpose_cap(
    asked: list[Charge], epsilon: float, part: float
) -> None:
    budget = {METRICS: part * epsilon}
    device = Settings(
        path=None, lifetime_epsilon=epsilon, delta=DELTA, purpose_epsilon=budget
    )

    ledger = filled(empty_ledger(device), asked)

    spent = list(ledger.charges)
    assert keeps(spent, epsilon, DELTA)
    assert keeps(
        [one for one in spent if one.purpose == METRICS], part * epsilon, DELTA
    )
    read = lifetime_spending(ledger, DELTA, now=2)
    assert read.whole.epsilon <= epsilon * CLOSE
    assert keeps(spent, read.whole.epsilon * CLOSE, DELTA)
    assert list(spent_epsilons(spent, DELTA))[-1:] == (
        [read.whole.epsilon] if spent else []
    )
    for purpose, seen in read.purposes.items():
        assert keeps(
            [one for one in spent if one.purpose == purpose],
            seen.epsilon * CLOSE,
            DELTA,
        )


@pytest.mark.parametrize(("family", "placement"), KINDS)
def test_small_charges_fill_a_lifetime_epsilon_of_1_and_not_more(
    family: Family, placement: Placement
) -> None:
    """Before, noise of which only rho is proved could spend 1.078."""
    device = Settings(path=None, lifetime_epsilon=1.0, delta=DELTA)

    sigma2 = Fraction(1_000_000, 50 if placement == Placement.DEVICES else 1)
    ledger = filled(empty_ledger(device), [charge(family, placement, sigma2)] * 300)

    assert keeps(list(ledger.charges), 1.0, DELTA)
    assert not keeps([*ledger.charges, *ledger.charges[:2]], 1.0, DELTA)


def test_one_charge_without_a_gaussian_curve_converts_all_by_rho() -> None:
    device = Settings(path=None, lifetime_epsilon=1.0, delta=DELTA)
    gaussian = charge("rounded_gaussian", Placement.AGGREGATOR, Fraction(1_000_000))
    local = charge("discrete_gaussian", Placement.LOCAL, Fraction(9_000_000))

    full = filled(empty_ledger(device), [gaussian] * 300)
    with pytest.raises(BudgetExhausted, match="privacy budget"):
        full.spend(local)
    mixed = filled(empty_ledger(device).spend(local), [gaussian] * 300)

    assert mixed.spent < full.spent
    assert keeps(list(mixed.charges), 1.0, DELTA)


def test_carried_spending_is_converted_by_rho() -> None:
    device = Settings(path=None, lifetime_epsilon=1.0, delta=DELTA)
    lost = Charge(task_id="", purpose=CARRIED, rho=Fraction(1, 10_000), time=1)
    gaussian = charge("rounded_gaussian", Placement.AGGREGATOR, Fraction(1_000_000))

    ledger = filled(empty_ledger(device).recorded(lost), [gaussian] * 300)

    assert keeps(list(ledger.charges), 1.0, DELTA)


@pytest.mark.parametrize("name", ["zcdp_to_approxdp", "discrete_gaussian"])
def test_the_epsilon_of_other_libraries_for_discrete_noise_is_never_exceeded(
    shared: Path, name: str
) -> None:
    """Compared with the conversion of OpenDP and the exact loss of dp-accounting."""
    exact = name == "discrete_gaussian"
    for row in json.loads((shared / f"vectors/dp/{name}.json").read_text())["rows"]:
        epsilon, rho = row["eps_pld" if exact else "eps"], Fraction(row["rho"])
        if not 0.01 < epsilon < 50:
            continue
        device = Settings(
            path=None, lifetime_epsilon=0.99 * epsilon, delta=row["delta"]
        )
        asked = Charge(task_id="", purpose=UPDATES, rho=rho, time=1)
        with pytest.raises(BudgetExhausted):
            empty_ledger(device).spend(asked)


def test_the_exact_loss_of_noise_in_shares_is_never_exceeded(shared: Path) -> None:
    content = (
        shared / "vectors" / "dp" / "distributed_discrete_gaussian.json"
    ).read_text()
    for row in json.loads(content)["rows"]:
        if row["sigma_local"] < 1 or row["eps_exact_1d"] < 0.01:
            continue
        release = GaussianRelease(
            norm_bound=1,
            sigma2=Fraction(row["sigma_local"]) ** 2,
            family="discrete_gaussian",
            dimension=1,
            placement=Placement.DEVICES,
            n_min=row["n"],
        )
        device = Settings(
            path=None, lifetime_epsilon=0.99 * row["eps_exact_1d"], delta=row["delta"]
        )
        asked = Charge(
            task_id="", purpose=UPDATES, rho=release.rho, time=1, event=release.event()
        )
        with pytest.raises(BudgetExhausted):
            empty_ledger(device).spend(asked)
