"""A server that sees everybody's history and releases only sums with Gaussian noise.

The private baselines rest on it (design/learning.md 10). Noise and accounting are those of
learning.md 4: one person's contribution replaced by zeros moves a sum by at most its sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.learning.client.contribution import weighted_history
from tactful.learning.round_parameters import Guide
from tactful.learning.server.subspace import first_guide
from tactful.learning.training_plan import Plan
from tactful_lab.baselines.simple import Popularity
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.ranking_metrics import Scorer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK = 2_000  # people whose rows are in memory at a time
HEAD = 600  # items that the baselines learn about
POPULARITY_SHARE = 0.05  # of the budget: the histogram that every method starts with
NO_NOISE = 1e-12  # the deviation that stands for none where something divides by it


@dataclass(frozen=True)
class Fitted:
    """A recommender, and how many numbers a device would upload for it in all rounds.

    Bytes and CPU of one device are None for what does not go over our wire, CPU also if it was
    not measured.
    """

    scorer: Scorer
    coordinates: int
    upload_bytes: int | None = None
    device_cpu_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Curator:
    """The server: its people, and the budget `mu` for everything it releases."""

    dataset: Dataset
    users: Ints
    mu: float
    generator: np.random.Generator

    def release(
        self, total: Floats, share: float, *, sensitivity: float = 1.0
    ) -> tuple[Floats, float]:
        """`total` with noise on each entry, and the noise's deviation, for a `share` of mu^2."""
        tau = sensitivity / (self.mu * math.sqrt(share))
        return total + tau * self.generator.standard_normal(total.shape), tau

    def guide(self, share: float, *, rank: int, head: int = HEAD) -> Guide:
        """Popularity, item weights, the head and a random basis, from one noisy histogram."""
        noisy, tau = self.release(histogram(self.dataset, self.users), share)
        head = min(head, self.dataset.items)
        plan = Plan(
            self.dataset.items, head, max(min(rank, head // 2), 1), (share, 1 - share)
        )
        return first_guide(noisy, max(tau, NO_NOISE), plan, self.generator.bytes(32))

    def rows(self, guide: Guide) -> Iterator[Floats]:
        """Everyone's weighted history on the head, some people at a time."""
        for start in range(0, len(self.users), CHUNK):
            histories = self.dataset.histories(self.users[start : start + CHUNK])
            yield weighted_rows(histories, guide)


def histogram(dataset: Dataset, users: Ints) -> Floats:
    """The sum of everyone's items as a vector of length 1, shape (items,)."""
    histories = dataset.histories(users)
    lengths = np.array([len(history) for history in histories])
    each = np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths)
    items = np.concatenate([np.empty(0, dtype=np.int64), *histories])
    return np.bincount(items, weights=each, minlength=dataset.items).astype(np.float64)


def weighted_rows(histories: Sequence[Ints], guide: Guide) -> Floats:
    """z of each person, shape (people, head), of length 1 or 0."""
    rows = np.zeros((len(histories), len(guide.head)))
    for row, history in zip(rows, histories, strict=True):
        places, values = weighted_history(history, guide)
        row[places] = values
    return rows


def local_popularity(curator: Curator) -> Fitted:
    """Popularity where each device adds the whole noise itself and trusts nobody."""
    noisy, _ = local_histogram(curator)
    return Fitted(Popularity(noisy), len(noisy))


def local_histogram(curator: Curator) -> tuple[Floats, float]:
    """The histogram as a sum of locally noisy vectors, and its deviation: sqrt(N) / mu."""
    crowd = math.sqrt(max(len(curator.users), 1))
    total = histogram(curator.dataset, curator.users)
    return curator.release(total, 1.0, sensitivity=crowd)
