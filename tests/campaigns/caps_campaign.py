"""The long run: `python tests/campaigns/caps_campaign.py 1000000 [first seed] [processes]`."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sdk" / "device" / "caps"))

from cap_schedules import live

BLOCK = 500


def block(first: int, end: int) -> list[str]:
    """Every mismatch among `BLOCK` schedules from seed `first` on."""
    found = []
    for seed in range(first, min(first + BLOCK, end)):
        try:
            live(seed, steps=10 + seed % 40)
        except Exception as wrong:
            found.append(f"seed {seed}: {type(wrong).__name__}: {wrong}")
    return found


def main(count: int, first: int = 0, processes: int = 2) -> int:
    """Run `count` schedules, print every mismatch, return how many there were."""
    started, mismatches = time.monotonic(), 0
    with ProcessPoolExecutor(processes) as pool:
        for found in pool.map(
            partial(block, end=first + count), range(first, first + count, BLOCK)
        ):
            mismatches += len(found)
            for line in found:
                print(line, flush=True)
    print(
        f"{count} schedules, {mismatches} mismatches, {time.monotonic() - started:.0f} s"
    )
    return mismatches


if __name__ == "__main__":
    sys.exit(min(main(*map(int, sys.argv[1:])), 1))
