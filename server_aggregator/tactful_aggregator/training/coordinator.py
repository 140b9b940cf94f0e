"""The leader's access to both aggregators and to the key that opens sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tactful.protocol.documents.model_release import ModelRelease
from tactful.protocol.documents.task import Task
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.dap.collect_messages import Query
from tactful_aggregator.dap.collector import Collector
from tactful_aggregator.helper_client import HelperClient
from tactful_aggregator.jobs import collection
from tactful_aggregator.jobs.dependencies import Dependencies
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.task_registry import COLLECTOR_CONFIG_ID, provisioned_round


class RoundCoordinator(Protocol):
    """Collection and countersignatures, as trainings and experiments need them."""

    def collect(self, task: Task) -> tuple[NDArray[np.int64], int]:
        """Return (signed noisy sum, number of reports); the same for each repeated call.

        The task accepts no uploads after this call. Raises BatchTooSmall, BatchMismatch.
        """

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        """Return the helper's signature over a task; raises TaskRejected if it refuses."""

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        """Return the helper's signature over a release; raises ProtocolError."""


@dataclass(frozen=True)
class Coordinator:
    """The coordinator of a leader, with its own database and a client of the helper."""

    dependencies: Dependencies
    aggregator: Aggregator
    helper: HelperClient

    def collect(self, task: Task) -> tuple[NDArray[np.int64], int]:
        """Return (signed noisy sum, number of reports); the same for each repeated call.

        Raises BatchTooSmall, BatchMismatch.
        """
        query = Query(None)
        provisioned = provisioned_round(task, self.aggregator)
        sealed = collection.collect(self.dependencies, self.helper, provisioned, query)
        private_key = self.aggregator.keys.collecting
        collector = Collector(task.dap, COLLECTOR_CONFIG_ID, private_key, "")
        opened = collector.open(query, sealed)
        return FIELD64.to_integers(opened.total), opened.count

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        """Return the helper's signature over a task; raises TaskRejected if it refuses."""
        return self.helper.sign_task(task, signature)

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        """Return the helper's signature over a release; raises ProtocolError."""
        return self.helper.sign_release(release, signature)
