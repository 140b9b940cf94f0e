"""Speed and storage of frequency caps: `python benchmarks/caps_bench.py [--million]`.

A synthetic person has 1,120 impressions a day in four sessions, of 1,000 items, with
twenty rules.
"""

from __future__ import annotations

import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

from tactful.device.caps import CapEngine, Rules
from tactful.device.catalog import Item
from tactful.device.clock import ManualClock
from tactful.device.device_key import HostKey
from tactful.device.vault import Vault

KEY, MINUTE, HOUR, DAY = HostKey(b"k" * 32), 60_000, 3_600_000, 86_400_000
SLOTS = 10  # impressions of one decision
# Four sessions a day with 28 decisions each: 1,120 impressions.
PAUSE_MS, NIGHT_MS, DECISIONS_PER_SESSION = 4 * MINUTE, 4 * HOUR, 28
ITEMS = tuple(
    Item(
        id=f"item-{n}",
        title="",
        category=f"category-{n % 20}",
        brand=f"brand-{n % 41}",
        campaign=f"campaign-{n % 53}",
        family=f"family-{n % 499}",
        creative=f"creative-{n}",
        tags=("survey",) if n % 100 == 0 else (),
        item_class="promo" if n % 10 == 0 else "normal",
    )
    for n in range(1000)
)


def _window(kind: str, **more: object) -> dict[str, object]:
    return {"kind": kind, **more}


def rules(most_a_week: int) -> Rules:
    """Return twenty rules; fewer impressions per item and week deny more candidates."""
    parts: list[tuple[list[str], dict[str, object], int | None]] = [
        (["item"], _window("sliding", ms=7 * DAY), most_a_week),
        (["item"], _window("sliding", ms=DAY), 12),
        (["item"], _window("sliding", ms=30 * DAY), 90),
        (["item"], _window("cooldown", ms=MINUTE), None),
        (["item"], _window("lifetime"), 1_000_000),
        (["item"], _window("decay", half_life_ms=7 * DAY, budget=90.0), None),
        (["creative"], _window("calendar", unit="day"), 15),
        (["family"], _window("sliding", ms=DAY), 30),
        (["campaign"], _window("calendar", unit="day"), 200),
        (["campaign"], _window("calendar", unit="week"), 600),
        (["campaign"], _window("sliding", ms=30 * DAY), 2_500),
        (["category"], _window("sliding", ms=DAY), 300),
        (["category"], _window("session", gap_ms=30 * MINUTE), 100),
        (["brand"], _window("sliding", ms=7 * DAY), 900),
        (["brand"], _window("decay", half_life_ms=30 * DAY, budget=9_000.0), None),
        (["brand", "surface"], _window("calendar", unit="month"), 3_000),
        (["app"], _window("calendar", unit="day"), 3_000),
        (["app"], _window("session", gap_ms=30 * MINUTE), 2_000),
        (["app"], _window("sliding", ms=7 * DAY), 20_000),
        (["tag:survey"], _window("every_nth", n=3), None),
    ]
    documents: list[dict[str, object]] = []
    for number, (key, window, limit) in enumerate(parts):
        rule = {
            "id": f"r{number}",
            "key": key,
            "window": window,
            "reason_code": f"R{number}",
        }
        if limit is not None:
            rule["limit"] = limit
        if key == ["tag:survey"]:
            rule["match"] = {"tag": ["survey"]}
        documents.append(rule)
    return Rules.parse({"schema": 1, "rules": documents})


LAX, USUAL, TIGHT = rules(10_000), rules(8), rules(2)


def fill(path: Path, events: int) -> ManualClock:
    """Write a vault with `events` impressions, as the engine writes them.

    Return the clock an hour after the last one.
    """
    clock, generator = ManualClock(), random.Random(0)
    with Vault.open(path, KEY) as vault:
        engine = CapEngine(vault, clock, Rules(), durable=False)
        # This registers every item.
        engine.decide(ITEMS, len(ITEMS), "home")
        clock.advance(HOUR)
        start_mono, last_decision, number = 1_000_000, 0, 0
        for _ in range(events // 1_000):
            with vault.transaction() as tx:
                for _ in range(1_000 // SLOTS):
                    number = number + 1
                    is_within = number % DECISIONS_PER_SESSION
                    clock.advance(PAUSE_MS if is_within else NIGHT_MS)
                    offset, day = clock.mono_ms - start_mono, clock.wall_ms // DAY
                    numbers = [generator.randrange(len(ITEMS)) for _ in range(SLOTS)]
                    instant = [0, offset, day, 0, 0]
                    fields = [*instant, 0, 120_000, "home", "", numbers, []]
                    if last_decision:
                        rows = [
                            [last_decision, slot, 0, day, 0] for slot in range(SLOTS)
                        ]
                        tx.append("close", [rows])
                    last_decision = position = tx.append("decision", fields)
                    for slot, number in enumerate(numbers):
                        event = [0, clock.wall_ms, 0, offset, day, 0, 0, ITEMS[number].id,
                                f"{position}.{slot}", 1]  # fmt: skip
                        tx.append("event", event)
    clock.advance(HOUR)
    return clock


def timed(work: Callable[[], object], times: int) -> tuple[float, float, float]:
    """Return wall p50, wall p99 and CPU p50 of `work`, in milliseconds."""
    wall, cpu = [], []
    for _ in range(times):
        started, cpu_started = time.perf_counter(), time.process_time()
        work()
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (time.process_time() - cpu_started))
    percentiles = quantiles(wall, n=100)
    return percentiles[49], percentiles[98], quantiles(cpu, n=2)[0]


def decide_ms(
    path: Path, clock: ManualClock, rules: Rules, *, durable: bool
) -> tuple[float, float, float]:
    """Return the times of `decide` with 1,000 candidates and ten slots."""
    with Vault.open(path, KEY) as vault:
        engine = CapEngine(vault, clock, rules, durable=durable)

        def decide() -> None:
            clock.advance(PAUSE_MS)
            engine.decide(ITEMS, SLOTS, "home")

        # The first decision fills caches and is not timed.
        decide()
        return timed(decide, 200)


def opening_ms(path: Path, clock: ManualClock, rules: Rules) -> float:
    """Return the CPU ms to open a vault and check one item, the least of five."""
    times = []
    for _ in range(5):
        started = time.process_time()
        with Vault.open(path, KEY) as vault:
            engine = CapEngine(vault, clock, rules, durable=False)
            engine.explanations.why_not(ITEMS[0], "home")
            times.append(1000 * (time.process_time() - started))
    return min(times)


def main(sizes: tuple[int, ...]) -> None:
    """Print one line per size and setting, and the growth with the history."""
    print(
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    )
    print("decide: 1,000 candidates, 20 rules, 10 slots, warm; milliseconds")
    print(
        f"{'events':>10}{'rules':>8}{'synchronous':>13}"
        f"{'p50':>8}{'p99':>8}{'CPU p50':>9}"
    )
    cpu_p50 = {}
    with tempfile.TemporaryDirectory() as folder:
        for events in sizes:
            path = Path(folder) / f"{events}.db"
            clock = fill(path, events)
            file_size = path.stat().st_size
            for name, setting_rules, durable in SETTINGS:
                p50, p99, cpu = decide_ms(path, clock, setting_rules, durable=durable)
                cpu_p50[events, name, durable] = cpu
                sync = "FULL" if durable else "NORMAL"
                times = f"{p50:8.2f}{p99:8.2f}{cpu:9.2f}"
                print(f"{events:10,}{name:>8}{sync:>13}{times}", flush=True)
            open_ms = opening_ms(path, clock, TIGHT)
            megabytes = file_size / events * 10_000 / 1e6
            print(
                f"{events:10,}  opens in {open_ms:.0f} ms CPU; "
                f"10,000 impressions are {megabytes:.2f} MB"
            )
    growth = cpu_p50[sizes[-1], "usual", False] / cpu_p50[sizes[0], "usual", False]
    print(f"{sizes[-1]:,} events need {growth:.2f} times the CPU p50 of {sizes[0]:,}")


SETTINGS = (
    ("lax", LAX, False),
    ("usual", USUAL, False),
    ("usual", USUAL, True),
    ("tight", TIGHT, False),
)

if __name__ == "__main__":
    main((10_000, 100_000, 1_000_000) if "--million" in sys.argv else (10_000, 100_000))
