"""Central differential privacy: a trusted server releases sums with Gaussian noise.

The private baselines are built on it (docs/spec/learning.md 10). Noise and accounting
are those of section 4 there: replacing one person's contribution by zeros changes a sum
by at most its sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.learning.client.contribution import weighted_history
from tactful.learning.round_parameters import Guide
from tactful_aggregator.learning.subspace import first_guide
from tactful_aggregator.learning.training_plan import Plan
from tactful_lab.baselines.simple import Popularity
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.ranking_metrics import Scorer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK = 2_000  # people whose rows are in memory at a time
HEAD = 600  # most popular items, the only ones that the baselines learn about
POPULARITY_SHARE = 0.05  # of the budget, for the histogram that each method starts with
NO_NOISE = 1e-12  # standard deviation instead of 0 where it is a divisor


@dataclass(frozen=True)
class Fitted:
    """A fitted recommender, and the cost of its training for one device.

    `coordinates` counts the numbers that one device uploads in all rounds. Bytes and
    CPU time are None for methods that do not use the wire format of Tactful; CPU time
    also if it was not measured.
    """

    scorer: Scorer
    coordinates: int
    upload_bytes: int | None = None
    device_cpu_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Curator:
    """A trusted server: its people, and the budget `mu` for everything it releases."""

    dataset: Dataset
    users: Ints
    mu: float
    generator: np.random.Generator

    def release(
        self, total: Floats, share: float, *, sensitivity: float = 1.0
    ) -> tuple[Floats, float]:
        """Return `total` with noise on each entry, and the noise's standard deviation.

        The release costs a `share` of mu^2.
        """
        tau = sensitivity / (self.mu * math.sqrt(share))
        noise = tau * self.generator.standard_normal(total.shape)
        return total + noise, tau

    def guide(self, share: float, *, rank: int, head: int = HEAD) -> Guide:
        """Return popularity, weights, head and random basis from a noisy histogram."""
        counts, tau = self.release(histogram(self.dataset, self.users), share)
        head = min(head, self.dataset.items)
        rank = max(min(rank, head // 2), 1)
        plan = Plan(self.dataset.items, head, rank, (share, 1 - share))
        return first_guide(counts, max(tau, NO_NOISE), plan, self.generator.bytes(32))

    def rows(self, guide: Guide) -> Iterator[Floats]:
        """Yield everyone's weighted history on the head, `CHUNK` people at a time."""
        for start in range(0, len(self.users), CHUNK):
            histories = self.dataset.histories(self.users[start : start + CHUNK])
            yield weighted_rows(histories, guide)


def histogram(dataset: Dataset, users: Ints) -> Floats:
    """Return the sum of people's item vectors, each of length 1, shape (items,)."""
    histories = dataset.histories(users)
    lengths = np.array([len(history) for history in histories])
    item_weights = np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths)
    items = np.concatenate([np.empty(0, dtype=np.int64), *histories])
    counts = np.bincount(items, weights=item_weights, minlength=dataset.items)
    return counts.astype(np.float64)


def weighted_rows(histories: Sequence[Ints], guide: Guide) -> Floats:
    """Return z of each person, shape (people, head), of length 1 or 0."""
    rows = np.zeros((len(histories), len(guide.head)))
    for row, history in zip(rows, histories, strict=True):
        places, values = weighted_history(history, guide)
        row[places] = values
    return rows


def local_popularity(curator: Curator) -> Fitted:
    """Fit popularity under local privacy: each device adds the full noise itself."""
    counts, _ = local_histogram(curator)
    return Fitted(Popularity(counts), len(counts))


def local_histogram(curator: Curator) -> tuple[Floats, float]:
    """Return the histogram as a sum of N locally noisy vectors, and sqrt(N) / mu.

    The second value is the standard deviation of the noise of the sum.
    """
    # Noise of N devices adds up to sqrt(N) times the noise of one.
    noise_factor = math.sqrt(max(len(curator.users), 1))
    total = histogram(curator.dataset, curator.users)
    return curator.release(total, 1.0, sensitivity=noise_factor)
