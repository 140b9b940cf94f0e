"""Speed of simulations: device-rounds per CPU second, exact and with float sums.

`python benchmarks/simulation_bench.py [devices]` uses online-retail with a head of 625
items and rank 16, which is 10,000 coordinates.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from tactful.protocol.vector_encoding import Encoding
from tactful_aggregator.learning.subspace import first_guide
from tactful_aggregator.learning.training_plan import Plan
from tactful_lab.baselines.simple import popularity
from tactful_lab.data_sets import loading
from tactful_lab.simulation.population import BOX, LEVELS, Population

HEAD, RANK = 625, 16
EXACT_DIVISOR = 50  # exact sums are slower, so fewer devices are measured


def main(devices: int) -> None:
    """Print both rates, and both with their ratio as JSON."""
    shop = loading.load("online-retail")
    train = loading.split(shop).train
    plan = Plan(items=shop.items, head=HEAD, rank=RANK, shares=(0.1, 0.9))
    guide = first_guide(popularity(shop, train).counts, 1.0, plan, b"public")
    encoding = Encoding(HEAD * RANK, LEVELS, BOX, b"task")
    large = Population(shop, np.resize(train, devices))
    small = Population(shop, np.resize(train, devices // EXACT_DIVISOR))
    coins = np.random.default_rng(0).bytes
    float_rate = rate(
        len(large), lambda: large.float_total("subspace", encoding, guide)
    )
    exact_rate = rate(
        len(small), lambda: small.total("subspace", encoding, guide, coins)
    )
    print(
        f"{float_rate:9,.0f} device-rounds per CPU second with float sums, "
        f"{exact_rate:,.0f} exact"
    )
    figures = {
        "float": round(float_rate),
        "exact": round(exact_rate),
        "ratio": round(float_rate / exact_rate),
    }
    print(json.dumps(figures))


def rate(devices: int, work: Callable[[], object]) -> float:
    """Return devices per CPU second, the best of three runs."""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return devices / min(seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
