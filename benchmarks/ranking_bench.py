"""Cost of a list: `recommend(10)` with a model, 20 rules, diversity and reasons.

`python benchmarks/ranking_bench.py [--items 10000]` also measures two baselines in the
same run: scores and top ten with numpy alone ("floor"), and `recommend` of the library
`implicit` for one person without known items, if it is installed. Each call returns a
new list, because the impressions are recorded between calls.
"""

from __future__ import annotations

import argparse
import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import quantiles

import numpy as np

from tactful.device.catalog import Catalog, Item
from tactful.device.clock import ManualClock
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.learning.model import Model
from tactful.testing import FIXED_KEY, LOCAL

FACTORS, LIKED, LENGTH, CALLS = 32, 30, 10, 60
MINUTE, DAY = 60_000, 86_400_000


def catalog_of(count: int) -> Catalog:
    """Return items in 40 categories, 199 brands, 53 campaigns and families of two."""
    # Items share these strings, as in a real catalog, which saves memory.
    categories = [f"category-{n}" for n in range(40)]
    brands = [f"brand-{n}" for n in range(199)]
    campaigns = [f"campaign-{n}" for n in range(53)]
    families = [f"family-{n}" for n in range(count // 2 + 1)]
    return Catalog(
        Item(
            id=f"item-{n}",
            title=f"Item {n}",
            category=categories[n % 40],
            brand=brands[n % 199],
            campaign=campaigns[n % 53],
            family=families[n // 2],
        )
        for n in range(count)
    )


def model_of(count: int) -> Model:
    """Return a model with random factors for all items and popularity by Zipf's law."""
    draws = np.random.default_rng(0)
    popularity = (1 / (1 + draws.permutation(count))).astype(np.float32)
    return Model(
        popularity=popularity,
        weights=np.sqrt(popularity).astype(np.float32),
        head=np.arange(count, dtype=np.int32),
        basis=(draws.standard_normal((count, FACTORS)) / np.sqrt(count)).astype(
            np.float32
        ),
        scale=np.ones(FACTORS, dtype=np.float32),
        popularity_share=0.2,
        gain=np.full(count, 0.7, dtype=np.float32),
        neighbours=np.empty((count, 0), dtype=np.int32),
        closeness=np.empty((count, 0), dtype=np.float32),
    )


def rules() -> dict[str, object]:
    """Return twenty rules of all kinds that deny some items but allow full lists."""
    parts: list[tuple[str, dict[str, object], int | None]] = [
        ("item", {"kind": "sliding", "ms": 7 * DAY}, 2),
        ("item", {"kind": "sliding", "ms": DAY}, 1),
        ("item", {"kind": "sliding", "ms": 30 * DAY}, 4),
        ("item", {"kind": "cooldown", "ms": MINUTE}, None),
        ("item", {"kind": "lifetime"}, 1_000),
        ("item", {"kind": "decay", "half_life_ms": 7 * DAY, "budget": 9.0}, None),
        ("creative", {"kind": "calendar", "unit": "day"}, 10_000),
        ("family", {"kind": "sliding", "ms": DAY}, 2),
        ("family", {"kind": "sliding", "ms": 7 * DAY}, 6),
        ("campaign", {"kind": "calendar", "unit": "day"}, 100),
        ("campaign", {"kind": "calendar", "unit": "week"}, 400),
        ("campaign", {"kind": "sliding", "ms": 30 * DAY}, 900),
        ("category", {"kind": "sliding", "ms": DAY}, 200),
        ("category", {"kind": "session", "gap_ms": 30 * MINUTE}, 100),
        ("brand", {"kind": "sliding", "ms": 7 * DAY}, 100),
        ("brand", {"kind": "decay", "half_life_ms": 30 * DAY, "budget": 900.0}, None),
        ("brand", {"kind": "calendar", "unit": "month"}, 900),
        ("app", {"kind": "calendar", "unit": "day"}, 30_000),
        ("app", {"kind": "session", "gap_ms": 30 * MINUTE}, 20_000),
        ("app", {"kind": "sliding", "ms": 7 * DAY}, 200_000),
    ]
    documents = []
    for number, (key, window, limit) in enumerate(parts):
        rule = {
            "id": f"r{number}",
            "key": [key],
            "window": window,
            "reason_code": f"R{number}",
        }
        documents.append(rule if limit is None else {**rule, "limit": limit})
    return {"schema": 1, "rules": documents}


def device_of(catalog: Catalog, model: Model, clock: ManualClock) -> Personalizer:
    """Return a device in memory, whose person liked thirty items."""
    settings = Settings(path=None, caps=rules())
    device = Personalizer(
        catalog, settings, key=FIXED_KEY, consent=LOCAL, model=model, clock=clock
    )
    for number in np.random.default_rng(1).choice(len(catalog), LIKED, replace=False):
        device.observe(Event(kind="like", item_id=catalog.items[int(number)].id))
    return device


def p50(
    work: Callable[[], object], between: Callable[[], object] = lambda: None
) -> float:
    """Return the median CPU milliseconds of `work`; `between` is not timed.

    The first five calls are left out, because they fill caches.
    """
    times = []
    for _ in range(CALLS):
        started = time.process_time()
        work()
        times.append(1000 * (time.process_time() - started))
        between()
    return quantiles(times[5:], n=100)[49]


def recommend_ms(catalog: Catalog, model: Model) -> float:
    """Measure `recommend`; the person sees each list before the next."""
    clock = ManualClock()
    with device_of(catalog, model, clock) as device:
        picks = list(device.recommend(LENGTH))

        def recommend() -> None:
            picks[:] = device.recommend(LENGTH)

        def observe() -> None:
            if len(picks) < LENGTH or not all(pick.reasons for pick in picks):
                raise RuntimeError("a list is too short or has a pick without reason")
            for pick in picks:
                device.observe(pick.impression())
            clock.advance(MINUTE // 2)

        return p50(recommend, observe)


def floor_ms(model: Model) -> float:
    """Measure scores and top ten with numpy alone."""
    liked = np.random.default_rng(1).choice(len(model.popularity), LIKED, replace=False)

    def best() -> None:
        scores = model.personal(liked)
        top = np.argpartition(-scores, LENGTH)[:LENGTH]
        top[np.argsort(-scores[top])]

    return p50(best)


def implicit_ms(count: int) -> float | None:
    """Measure `implicit` for one person without liked items; None if not installed."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from scipy.sparse import csr_matrix
    except ImportError:
        return None
    draws = np.random.default_rng(0)
    als = AlternatingLeastSquares(factors=FACTORS, num_threads=1)
    als.item_factors = draws.standard_normal((count, FACTORS)).astype(np.float32)
    als.user_factors = draws.standard_normal((1, FACTORS)).astype(np.float32)
    liked = np.random.default_rng(1).choice(count, LIKED, replace=False)
    row = csr_matrix(
        (np.ones(LIKED), (np.zeros(LIKED, dtype=int), liked)), shape=(1, count)
    )
    return p50(lambda: als.recommend(0, row, N=LENGTH, filter_already_liked_items=True))


MEMORY = """
import gc, resource, sys
import numpy, numpy.random
def mb():
    for line in open("/proc/self/status"):
        if line.startswith(sys.argv[1]): return int(line.split()[1]) / 1024
before = mb()
sys.path.insert(0, "benchmarks")
import ranking_bench as bench
catalog, model = bench.catalog_of(100_000), bench.model_of(100_000)
with bench.device_of(catalog, model, bench.ManualClock()) as device:
    assert len(device.recommend(10)) == 10
    gc.collect()
    print(mb() - before)
"""


def memory_mb(field: str) -> float:
    """Return the memory of 100,000 items with 32 factors, above numpy, in MB.

    `field` is a field of /proc/self/status, such as VmRSS.
    """
    command = [sys.executable, "-c", MEMORY, field]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(completed.stdout)


def main() -> None:
    """Print one line per size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    options = parser.parse_args()
    print(f"{'recommend(10), p50':24}{'ms':>8}{'/ floor':>10}{'/ implicit':>12}")
    for count in options.items:
        catalog, model = catalog_of(count), model_of(count)
        gc.collect()
        ours, floor = recommend_ms(catalog, model), floor_ms(model)
        implicit = implicit_ms(count)
        ratio = "-" if implicit is None else f"{ours / implicit:.1f}"
        print(f"{count:<24,}{ours:8.2f}{ours / floor:10.1f}{ratio:>12}")
        print(f"{'  floor':24}{floor:8.2f}")
        if implicit is not None:
            print(f"{'  implicit':24}{implicit:8.2f}")
    resident, peak = memory_mb("VmRSS"), memory_mb("VmHWM")
    print(f"memory for 100,000 items: {resident:.0f} MB (peak {peak:.0f})")
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"peak of this process: {own_peak} MB")


if __name__ == "__main__":
    main()
