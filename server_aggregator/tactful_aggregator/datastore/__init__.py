"""All SQL of one aggregator; no other package contains a statement."""

from tactful_aggregator.datastore.batches import BatchShard, ReleasedShare
from tactful_aggregator.datastore.jobs import DeferredJob
from tactful_aggregator.datastore.locks import LockLost
from tactful_aggregator.datastore.reports import StoredReport
from tactful_aggregator.datastore.schema import (
    ABANDONED,
    CLOSING,
    COLLECTED,
    COUNTED,
    FINISHED,
    OPEN,
    PARKED,
    PENDING,
    REFUSED,
    TAKEN,
    WAITING,
)
from tactful_aggregator.datastore.store import Datastore
from tactful_aggregator.datastore.trainings import Period
from tactful_aggregator.datastore.transaction import StoreTransaction

__all__ = [
    "ABANDONED",
    "CLOSING",
    "COLLECTED",
    "COUNTED",
    "FINISHED",
    "OPEN",
    "PARKED",
    "PENDING",
    "REFUSED",
    "TAKEN",
    "WAITING",
    "BatchShard",
    "Datastore",
    "DeferredJob",
    "LockLost",
    "Period",
    "ReleasedShare",
    "StoreTransaction",
    "StoredReport",
]
