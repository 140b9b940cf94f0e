"""Sampler, accountant, ledger and log: how fast, beside others where they are installed.

OpenDP and dp-accounting come with the extra `crosscheck`; without it their columns are left out.
"""

import math
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from tactful.privacy import pairs, rdp
from tactful.privacy.accountant import claim, epsilon_for
from tactful.privacy.budget import Charge, chain, line
from tactful.privacy.discrete_gaussian import NoiseTable, draw
from tactful.privacy.mechanism import GaussianRelease
from tactful.protocol.log import merkle

SIGMA, DRAWS, ENTRIES = 100, 1 << 20, 100_000
REPEATS = 5


def best(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """The least CPU seconds of some runs: what the code needs, without its neighbours."""
    found = math.inf
    for _ in range(repeats):
        began = time.process_time()
        run()
        found = min(found, time.process_time() - began)
    return found


def sampler() -> None:
    """Draws beside numpy's floats and OpenDP's integers."""
    table = NoiseTable.of("discrete_gaussian", Fraction(SIGMA**2))
    generator = np.random.default_rng(1)
    ours = best(lambda: draw(table, DRAWS)) / DRAWS * 1e6
    floats = best(lambda: generator.normal(0, SIGMA, DRAWS)) / DRAWS * 1e6
    print(f"discrete Gaussian, sigma {SIGMA}: {ours:.3f} us a draw (goal 0.15)")
    print(
        f"  numpy's float normal {floats:.3f} us: ours takes {ours / floats:.1f} times as long"
    )
    try:
        import opendp.prelude as dp
    except ImportError:
        print("  OpenDP: not installed")
        return
    dp.enable_features("contrib")
    domain = dp.vector_domain(dp.atom_domain(T=int))
    noisy = dp.m.make_gaussian(domain, dp.l2_distance(T=float), float(SIGMA))
    zeros, count = [0] * 4096, 4096
    other = best(lambda: noisy(zeros), 3) / count * 1e6
    print(f"  OpenDP {other:.1f} us: ours is {other / ours:.0f} times as fast")


def accountant() -> None:
    """Typical questions beside dp-accounting."""
    releases = [
        GaussianRelease(
            norm_bound=5921 + n,
            sigma2=Fraction(40_000 + n, 3),
            family="rounded_gaussian",
            dimension=4096,
        )
        for n in range(4)
    ]
    exact = best(lambda: claim(releases, 1e-6)) * 1e3
    rho = sum((one.rho for one in releases), Fraction(0))
    grid = best(lambda: pairs.gaussian(math.sqrt(2 * rho)).epsilon(1e-6), 3) * 1e3
    table = NoiseTable.of("discrete_gaussian", Fraction(25))
    discrete = best(lambda: pairs.additive_noise(table, 1).epsilon(1e-6, 10), 3) * 1e3
    print(
        f"a claim of four releases: {exact:.2f} ms (goal 50); the same on a grid {grid:.0f} ms"
    )
    print(f"ten steps of a discrete Gaussian, sigma 5: {discrete:.0f} ms")
    looser = sum(
        epsilon_for(mu, 1e-6) > rdp.epsilon(rdp.gaussian(Fraction(mu) ** 2 / 2), 1e-6)
        for mu in np.geomspace(0.05, 8, 200).tolist()
    )
    print(f"looser than Renyi on {looser} of 200 Gaussians (goal 0)")
    try:
        from dp_accounting import dp_event
        from dp_accounting.pld import privacy_loss_distribution as losses
        from dp_accounting.rdp import RdpAccountant
    except ImportError:
        print("  dp-accounting: not installed")
        return
    event = dp_event.GaussianDpEvent(1 / math.sqrt(2 * float(rho)))

    def renyi() -> float:
        found: float = RdpAccountant().compose(event).get_epsilon(1e-6)
        return found

    sigma = 1 / math.sqrt(2 * float(rho))
    pld = (
        best(
            lambda: losses.from_gaussian_mechanism(sigma).get_epsilon_for_delta(1e-6), 3
        )
        * 1e3
    )
    other = best(renyi, 3) * 1e3
    ten = best(
        lambda: losses.from_discrete_gaussian_mechanism(5.0).self_compose(10)
        .get_epsilon_for_delta(1e-6), 3
    ) * 1e3  # fmt: skip
    print(
        f"  dp-accounting: PLD {pld:.0f} ms ({pld / exact:.0f} times ours), Renyi {other:.1f} ms"
    )
    print(
        f"  its ten steps of a discrete Gaussian: {ten:.0f} ms, {ten / discrete:.1f} times ours"
    )


def books() -> None:
    """Chain and log of many entries."""
    entries = [
        line(
            Charge(
                task_id=f"{n:064x}",
                purpose="share_dp_updates",
                rho=Fraction(n + 1, 10**6),
                time=n,
                report_id=f"{n:032x}",
            )
        )
        for n in range(ENTRIES)
    ]
    chained = best(lambda: chain(entries), 3)
    print(f"hash chain of {ENTRIES:,} entries: {chained:.2f} s (goal 0.3)")
    leaves = [merkle.leaf(text.encode()) for text in entries]
    print(
        f"Merkle head of {ENTRIES:,} entries: {best(lambda: merkle.root(leaves), 3):.2f} s"
    )
    print(
        f"consistency proof of them: {best(lambda: merkle.consistency(leaves, 70_001), 1):.2f} s"
    )


if __name__ == "__main__":
    sampler()
    accountant()
    books()
