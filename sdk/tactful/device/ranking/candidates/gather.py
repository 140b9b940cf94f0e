"""Which items are weighed at all: the best of several sources, each with its own quota.

For people who share nothing of themselves there is one source: what stands first for everyone.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.values import Floats, Ints, Labels, best

LEAST = 1000  # candidates; a smaller catalog is weighed whole
PER_PLACE = 50  # candidates for each place of a longer list
PERSONAL_QUOTA = 0.7  # of the candidates; the others are what is popular with everyone
FRESH_DAYS = 30  # in the catalog: so long is an item new
FRESH_SHOWS = 3  # to one person: so often it may be lifted for being new


def enough(length: int) -> int:
    """How many candidates a list of `length` places is made from."""
    return max(LEAST, PER_PLACE * length)


def gather(
    personal: Floats | None,
    standard_order: Labels,
    kept: NDArray[np.bool_],
    *,
    size: int,
    always: Collection[int],
) -> Ints:
    """About `size` of the `kept` item numbers, in rising order, from all sources.

    `personal` scores all items, None for nobody in particular; `standard_order` has them best
    first; `always` (what is due again, what is new) comes in beside the quotas.
    """
    chosen = np.zeros(len(kept), dtype=bool)
    chosen[list(always)] = True
    if personal is not None:
        chosen[best(np.where(kept, personal, -np.inf), int(PERSONAL_QUOTA * size))] = (
            True
        )
    missing, start = max(size - int(np.count_nonzero(chosen)), 0), 0
    while missing and start < len(standard_order):
        part = standard_order[start : start + 2 * missing]
        found = part[(kept[part] & ~chosen[part])][:missing]
        chosen[found] = True
        missing, start = missing - len(found), start + len(part)
    return np.flatnonzero(chosen & kept)
