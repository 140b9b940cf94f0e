"""What the leader's operator works with: both halves together, and the key that opens sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.protocol.dap.collect_messages import Query
from tactful.protocol.dap.collector import Collector
from tactful.protocol.documents.model_release import ModelRelease
from tactful.protocol.documents.task import Task
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.helper_client import HelperClient
from tactful_aggregator.jobs import collection
from tactful_aggregator.jobs.aggregation import Dependencies
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.task_registry import COLLECTOR_CONFIG_ID, of_round


@dataclass(frozen=True)
class Coordinator:
    """The leader as it leads trainings."""

    bench: Dependencies
    half: Aggregator
    helper: HelperClient

    def collect(self, task: Task) -> tuple[NDArray[np.int64], int]:
        """(signed noisy sum, number of reports) of a round; asked again, the same.

        Raises BatchTooSmall, BatchMismatch.
        """
        query = Query(None)
        provision = of_round(task, self.half)
        sealed = collection.collect(self.bench, self.helper, provision, query)
        collector = Collector(
            task.dap, COLLECTOR_CONFIG_ID, self.half.keys.collecting, ""
        )
        found = collector.open(query, sealed)
        return FIELD64.to_integers(found.total), found.count

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        """The helper's signature over a task; raises TaskRejected."""
        return self.helper.sign_task(task, signature)

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        """The helper's signature over a release; raises ProtocolError."""
        return self.helper.sign_release(release, signature)
