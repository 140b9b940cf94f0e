"""The measurement of a device: one bounded vector per round, from liked items only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tactful.device.catalog import Catalog
from tactful.errors import TaskRejected

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tactful.learning.round_parameters import RoundParameters
    from tactful.protocol.documents.task import Task


def measure(
    liked: Iterable[str], catalog: Catalog, task: Task, guide: RoundParameters | None
) -> NDArray[np.float64]:
    """Return the vector for `task`, shape (task.length,), of norm 1; 0 without likes.

    Raise TaskRejected if the task is for another catalog.
    """
    import numpy as np

    from tactful.learning.client.contribution import contribution

    if task.catalog != catalog.sha256 or task.items != len(catalog):
        raise TaskRejected(
            "task.catalog: the task is for another catalog; update the app's items"
        )
    numbers = np.array(
        sorted(catalog.number(item_id) for item_id in liked), dtype=np.int64
    )
    return contribution(task.kind, numbers, len(catalog), guide)
