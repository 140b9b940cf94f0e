"""Simulated device-rounds a CPU second at 10,000 coordinates: exact, in floats, and their ratio.

`python benchmarks/simulation_bench.py [devices]`: online-retail, a head of 625 items and rank 16.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from tactful.learning.server.subspace import first_guide
from tactful.learning.training_plan import Plan
from tactful.protocol.vector_encoding import Encoding
from tactful_lab.baselines.simple import popularity
from tactful_lab.data_sets import loading
from tactful_lab.simulation.population import BOX, LEVELS, Population

HEAD, RANK, EXACT_PART = 625, 16, 50


def main(devices: int) -> None:
    """Print both rates, and all as JSON."""
    shop = loading.load("online-retail")
    train = loading.split(shop).train
    plan = Plan(items=shop.items, head=HEAD, rank=RANK, shares=(0.1, 0.9))
    guide = first_guide(popularity(shop, train).counts, 1.0, plan, b"public")
    encoding = Encoding(HEAD * RANK, LEVELS, BOX, b"task")
    many, few = (
        Population(shop, np.resize(train, n)) for n in (devices, devices // EXACT_PART)
    )
    coins = np.random.default_rng(0).bytes
    fast = rate(len(many), lambda: many.float_total("subspace", encoding, guide))
    exact = rate(len(few), lambda: few.total("subspace", encoding, guide, coins))
    print(f"{fast:9,.0f} device-rounds a CPU second in floats, {exact:,.0f} exact")
    print(
        json.dumps(
            {"float": round(fast), "exact": round(exact), "ratio": round(fast / exact)}
        )
    )


def rate(devices: int, work: Callable[[], object]) -> float:
    """Devices per CPU second, the best of three runs."""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return devices / min(seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
