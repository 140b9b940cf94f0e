"""Measure what each cache of the device saves: `make caches`.

Every row compares one realistic operation with the cache and without it, in alternating
runs of one process, as the ratio of CPU time. A cache stays only if the ratio is at
least 1.3 in one of the operations.

- `decide`: 10 of 1,000 candidates under twenty rules, 10,000 impressions in the vault;
- `denied`: the same with two impressions of an item a week, so that most candidates
  are denied;
- `recommend`: 10 of 10,000 items with the default caps and a profile of 300 events and
  3,650 impressions;
- `open`: open that vault or that device, then decide or recommend once.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from caps_bench import ITEMS, KEY, PAUSE_MS, TIGHT, USUAL, fill

from tactful import Catalog, Consent, Event, Item, Personalizer, Settings
from tactful.device.caps import CapEngine
from tactful.device.caps.counting import rule_counters
from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.rule_counters import RuleCounters
from tactful.device.caps.deciding import explain_denial
from tactful.device.caps.deciding.decide import DecisionRun
from tactful.device.caps.deciding.decision_cache import DecisionCache
from tactful.device.caps.timeline import civil_time
from tactful.device.clock import ManualClock
from tactful.device.ranking.scoring import taste
from tactful.device.vault import Vault, VaultTransaction
from tactful.testing import FIXED_KEY

PAIRS = 9  # alternating measurements of each row
LEAST_RATIO = 1.3
Disable = Callable[[ExitStack], object]


def patched(target: object, name: str, replacement: object) -> Disable:
    """Return a function that replaces one attribute until the stack is closed."""
    return lambda stack: stack.enter_context(patch.object(target, name, replacement))


def _uncached_keys(state: CounterState, *arguments: object) -> object:
    state._keys_cache.clear()
    return KEYS_BY_GROUP(state, *arguments)


def _uncached_explanation(cache: DecisionCache, *arguments: object) -> object:
    cache._explanations.clear()
    return EXPLANATION(cache, *arguments)


def _uncached_used(counters: RuleCounters, key_counter: object, now: object) -> int:
    if counters.is_lifetime:
        return key_counter.total  # type: ignore[attr-defined]
    key_counter.cached_count = None  # type: ignore[attr-defined]
    return counters.current_count(key_counter, now).used  # type: ignore[arg-type]


def _fresh_shows(shows: taste.Shows, shown: Mapping[str, object]) -> object:
    shows._cache = ([], taste.np.empty((0, 5)))
    return READ_SHOWS(shows, shown)  # type: ignore[arg-type]


READ_SHOWS = taste.Shows.read
EXPLANATION = DecisionCache._explanation
KEYS_BY_GROUP = CounterState.keys_by_group
# Each of the two makes up for the other: without both, explaining a denial by a
# calendar rule computes the start of each day again.
EXPLANATION_CACHES = (
    patched(DecisionCache, "_explanation", _uncached_explanation),
    patched(explain_denial, "day_start", civil_time.day_start.__wrapped__),
    patched(rule_counters, "day_start", civil_time.day_start.__wrapped__),
)
CACHES: Mapping[str, Disable] = {
    "decision cache": patched(DecisionRun, "_all_at_once", DecisionRun._one_by_one),
    "explanations, starts of days": lambda stack: [
        disable(stack) for disable in EXPLANATION_CACHES
    ],
    "last count of each key": patched(RuleCounters, "used", _uncached_used),
    "keys of an item": patched(CounterState, "keys_by_group", _uncached_keys),
    "exposure columns": patched(taste.Shows, "read", _fresh_shows),
    "cells of the vault": patched(VaultTransaction, "cell", lambda *_: None),
}


def cpu_ms(work: Callable[[], object], repeats: int) -> float:
    """Return the CPU time of one call in milliseconds, over `repeats` calls."""
    start = time.process_time()
    for _ in range(repeats):
        work()
    return 1000 * (time.process_time() - start) / repeats


def ratio(work: Callable[[], object], disable: Disable, repeats: int) -> float:
    """Return the median ratio of CPU time, without the cache to with it."""
    ratios = []
    for _ in range(PAIRS):
        with_cache = cpu_ms(work, repeats)
        with ExitStack() as stack:
            disable(stack)
            without = cpu_ms(work, repeats)
        ratios.append(without / with_cache)
    return statistics.median(ratios)


def catalog() -> Catalog:
    """Return 10,000 items in 50 categories and 400 brands."""
    return Catalog(
        Item(
            id=f"item-{n}",
            title=f"Item {n}",
            category=f"category-{n % 50}",
            brand=f"brand-{n % 400}",
            family=f"family-{n // 3}",
        )
        for n in range(10_000)
    )


def use_device(device: Personalizer, clock: ManualClock) -> None:
    """Give the device a year of likes, views and lists."""
    for number in range(300):
        kind = ("view", "like", "click")[number % 3]
        device.observe(Event(kind=kind, item_id=f"item-{number * 7}"))
    for _ in range(365):
        for pick in device.recommend(10):
            device.observe(pick.impression())
        clock.advance(86_400_000)


@contextmanager
def operations(
    folder: Path,
) -> Iterator[Mapping[str, tuple[Callable[[], object], int]]]:
    """Yield each operation with how often one measurement repeats it."""
    cap_clock = fill(folder / "caps.db", 10_000)
    strict_clock = fill(folder / "strict.db", 10_000)
    clock = ManualClock()
    settings = Settings(path=str(folder / "device.db"))
    consent = Consent.to("local_profile", "local_personalization")
    items = catalog()

    def opened() -> Personalizer:
        return Personalizer(
            items, settings, key=FIXED_KEY, consent=consent, clock=clock
        )

    with opened() as device:
        use_device(device, clock)
    with (
        Vault.open(folder / "caps.db", KEY) as vault,
        Vault.open(folder / "strict.db", KEY) as strict_vault,
        opened() as device,
    ):
        engine = CapEngine(vault, cap_clock, USUAL, durable=False)

        def decide() -> None:
            cap_clock.advance(PAUSE_MS)
            engine.decide(ITEMS, 10, "home")

        strict_engine = CapEngine(strict_vault, strict_clock, TIGHT, durable=False)

        def denied() -> None:
            strict_clock.advance(PAUSE_MS)
            strict_engine.decide(ITEMS, 10, "home")

        def recommend() -> None:
            clock.advance(3_600_000)
            device.recommend(10)

        def open_vault() -> None:
            with Vault.open(folder / "caps.db", KEY) as again:
                CapEngine(again, cap_clock, USUAL, durable=False).decide(
                    ITEMS, 10, "home"
                )

        def open_device() -> None:
            with opened() as again:
                again.recommend(10)

        decide()
        denied()
        recommend()
        yield {
            "decide": (decide, 5),
            "denied": (denied, 20),
            "recommend": (recommend, 3),
            "open vault": (open_vault, 1),
            "open device": (open_device, 1),
        }


def main() -> None:
    """Print a table with one row for each cache."""
    with tempfile.TemporaryDirectory() as folder, operations(Path(folder)) as works:
        print(f"{'cache':28}" + "".join(f"{name:>13}" for name in works) + "   kept")
        for name, disable in CACHES.items():
            ratios = [ratio(work, disable, times) for work, times in works.values()]
            is_kept = "yes" if max(ratios) >= LEAST_RATIO else "no"
            row = "".join(f"{value:13.2f}" for value in ratios)
            print(f"{name:28}{row}   {is_kept}", flush=True)


if __name__ == "__main__":
    main()
