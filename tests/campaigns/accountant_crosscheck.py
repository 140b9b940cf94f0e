"""Our accountant beside dp-accounting and OpenDP on random events that it was not tuned on.

Needs the extra `crosscheck`; prints the largest gaps and how long each took.
"""

import random
import sys
import time
from fractions import Fraction

from tactful.privacy import pairs, pld, rdp
from tactful.privacy.accountant import epsilon_for, epsilon_from_rho
from tactful.privacy.discrete_gaussian import NoiseTable

DELTAS = (1e-5, 1e-6, 1e-8)
LIMIT, RELATIVE = 5e-3, 0.02  # two grids may differ by the larger of both


def mixtures(count: int, seed: int) -> list[list[tuple[str, float, float, int]]]:
    """Random histories: (kind, noise, second parameter, times) each."""
    generator = random.Random(seed)
    histories = []
    for _ in range(count):
        history = []
        for _ in range(generator.randint(1, 3)):
            kind = generator.choice(["gaussian", "discrete", "laplace", "sampled"])
            sigma = round(generator.uniform(0.8, 20), 2)
            rate = round(10 ** generator.uniform(-3, -0.5), 4)
            history.append((kind, sigma, rate, generator.randint(1, 40)))
        histories.append(history)
    return histories


def ours(history: list[tuple[str, float, float, int]], delta: float) -> float:
    steps: list[list[tuple[pld.PrivacyLoss, int]]] = [[], []]
    for kind, sigma, rate, times in history:
        if kind == "gaussian":
            both = (pairs.gaussian(1 / sigma),) * 2
        elif kind == "discrete":
            table = NoiseTable.of("discrete_gaussian", Fraction(str(sigma)) ** 2)
            both = (pairs.additive_noise(table, 1),) * 2
        elif kind == "laplace":
            both = (
                pairs.additive_noise(NoiseTable.laplace(Fraction(str(sigma))), 1),
            ) * 2
        else:
            both = pairs.sampled_gaussian(1 / sigma, rate)
        for way in (0, 1):
            steps[way].append((both[way], times))
    return max(pld.epsilon_of(way, delta) for way in steps)


def theirs(history: list[tuple[str, float, float, int]], delta: float) -> float:
    from dp_accounting.pld import privacy_loss_distribution as losses

    whole = None
    for kind, sigma, rate, times in history:
        grid = {"value_discretization_interval": 1e-4}
        if kind == "gaussian":
            one = losses.from_gaussian_mechanism(sigma, **grid)
        elif kind == "discrete":
            one = losses.from_discrete_gaussian_mechanism(sigma, **grid)
        elif kind == "laplace":
            one = losses.from_discrete_laplace_mechanism(1 / sigma, **grid)
        else:
            one = losses.from_gaussian_mechanism(sigma, sampling_prob=rate, **grid)
        composed = one.self_compose(times)
        whole = composed if whole is None else whole.compose(composed)
    return float(whole.get_epsilon_for_delta(delta))


def conversions(count: int, seed: int) -> float:
    """The largest relative gap of the rho conversion to OpenDP's."""
    import opendp.prelude as dp

    dp.enable_features("contrib")
    generator, worst = random.Random(seed), 0.0
    for _ in range(count):
        rho = 10 ** generator.uniform(-4, 1)
        domain = dp.vector_domain(dp.atom_domain(T=int))
        noisy = dp.m.make_gaussian(
            domain, dp.l2_distance(T=float), (1 / (2 * rho)) ** 0.5
        )
        found = dp.c.make_zCDP_to_approxDP(noisy).map(1.0).epsilon(1e-6)
        worst = max(worst, abs(found / epsilon_from_rho(rho, 1e-6) - 1))
    return worst


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    worst, took, failed = 0.0, [0.0, 0.0], 0
    for number, history in enumerate(mixtures(count, 2026)):
        delta = DELTAS[number % len(DELTAS)]
        began = time.process_time()
        mine = ours(history, delta)
        took[0] += time.process_time() - began
        began = time.process_time()
        other = theirs(history, delta)
        took[1] += time.process_time() - began
        gap = abs(mine - other)
        worst = max(worst, gap)
        if gap > max(LIMIT, RELATIVE * other):
            failed += 1
            print(f"{history} at {delta}: {mine:.6f} against {other:.6f}")
    print(
        f"{count} mixed histories: largest gap {worst:.2e}, {failed} beyond the tolerance"
    )
    print(
        f"CPU: ours {took[0]:.1f} s, dp-accounting {took[1]:.1f} s, {took[1] / took[0]:.1f} times"
    )
    gap = conversions(count, 7)
    print(
        f"{count} conversions from rho against OpenDP: largest relative gap {gap:.1e}"
    )
    generator = random.Random(3)
    above = 0
    for _ in range(count):
        rho = Fraction(generator.randint(1, 10**6), 10**6)
        above += epsilon_for(float(2 * rho) ** 0.5, 1e-6) > rdp.epsilon(
            rdp.gaussian(rho), 1e-6
        )
    print(f"{count} Gaussian histories: {above} looser than Renyi")
    return 1 if failed or above or gap > 1e-6 else 0


if __name__ == "__main__":
    sys.exit(main())
