"""Speed of sampler, accountant, ledger and publication log.

They are compared with OpenDP and dp-accounting if these are installed (extra
`crosscheck`).
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
    """Return the least CPU seconds of some runs, least disturbed by other processes."""
    least = math.inf
    for _ in range(repeats):
        started = time.process_time()
        run()
        least = min(least, time.process_time() - started)
    return least


def sampler() -> None:
    """Compare draws with float draws of numpy and integer draws of OpenDP."""
    table = NoiseTable.of("discrete_gaussian", Fraction(SIGMA**2))
    generator = np.random.default_rng(1)
    ours = best(lambda: draw(table, DRAWS)) / DRAWS * 1e6
    floats = best(lambda: generator.normal(0, SIGMA, DRAWS)) / DRAWS * 1e6
    print(f"discrete Gaussian, sigma {SIGMA}: {ours:.3f} us per draw (goal 0.15)")
    print(
        f"  numpy's float normal: {floats:.3f} us; "
        f"ours takes {ours / floats:.1f} times as long"
    )
    try:
        import opendp.prelude as dp
    except ImportError:
        print("  OpenDP: not installed")
        return
    dp.enable_features("contrib")
    domain = dp.vector_domain(dp.atom_domain(T=int))
    noisy = dp.m.make_gaussian(domain, dp.l2_distance(T=float), float(SIGMA))
    zeros = [0] * 4096
    other = best(lambda: noisy(zeros), 3) / len(zeros) * 1e6
    print(f"  OpenDP: {other:.1f} us; ours is {other / ours:.0f} times as fast")


def accountant() -> None:
    """Compare typical computations with dp-accounting."""
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
    rho = sum((release.rho for release in releases), Fraction(0))
    grid = best(lambda: pairs.gaussian(math.sqrt(2 * rho)).epsilon(1e-6), 3) * 1e3
    table = NoiseTable.of("discrete_gaussian", Fraction(25))
    discrete = best(lambda: pairs.additive_noise(table, 1).epsilon(1e-6, 10), 3) * 1e3
    print(
        f"claim of four releases: {exact:.2f} ms (goal 50); "
        f"as privacy loss distribution on a grid: {grid:.0f} ms"
    )
    print(f"ten steps of a discrete Gaussian, sigma 5: {discrete:.0f} ms")
    looser = 0
    for mu in np.geomspace(0.05, 8, 200).tolist():
        renyi_epsilon = rdp.epsilon(rdp.gaussian(Fraction(mu) ** 2 / 2), 1e-6)
        looser += epsilon_for(mu, 1e-6) > renyi_epsilon
    print(f"looser than Renyi DP for {looser} of 200 Gaussians (goal 0)")
    try:
        from dp_accounting import dp_event
        from dp_accounting.pld import privacy_loss_distribution as losses
        from dp_accounting.rdp import RdpAccountant
    except ImportError:
        print("  dp-accounting: not installed")
        return
    sigma = 1 / math.sqrt(2 * float(rho))
    event = dp_event.GaussianDpEvent(sigma)

    def renyi_of_others() -> float:
        epsilon: float = RdpAccountant().compose(event).get_epsilon(1e-6)
        return epsilon

    def pld_of_others() -> object:
        return losses.from_gaussian_mechanism(sigma).get_epsilon_for_delta(1e-6)

    def ten_steps_of_others() -> object:
        one_step = losses.from_discrete_gaussian_mechanism(5.0)
        return one_step.self_compose(10).get_epsilon_for_delta(1e-6)

    pld = best(pld_of_others, 3) * 1e3
    renyi = best(renyi_of_others, 3) * 1e3
    ten_steps = best(ten_steps_of_others, 3) * 1e3
    print(
        f"  dp-accounting: PLD {pld:.0f} ms ({pld / exact:.0f} times ours), "
        f"Renyi DP {renyi:.1f} ms"
    )
    print(
        f"  dp-accounting, ten steps of a discrete Gaussian: {ten_steps:.0f} ms, "
        f"{ten_steps / discrete:.1f} times ours"
    )


def ledger_and_log() -> None:
    """Measure the hash chain of a ledger and the tree of the publication log."""
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
    chain_seconds = best(lambda: chain(entries), 3)
    print(f"hash chain of {ENTRIES:,} entries: {chain_seconds:.2f} s (goal 0.3)")
    leaves = [merkle.leaf(text.encode()) for text in entries]
    tree = merkle.MerkleTree(leaves)
    root_seconds = best(lambda: merkle.root(leaves), 3)
    print(f"Merkle root of {ENTRIES:,} entries: {root_seconds:.2f} s")
    proof_seconds = best(lambda: tree.consistency(70_001), 1)
    print(f"consistency proof for {ENTRIES:,} entries: {proof_seconds:.2f} s")


if __name__ == "__main__":
    sampler()
    accountant()
    ledger_and_log()
