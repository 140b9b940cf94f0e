"""A leader and a helper in one process, each on its own file, and small tasks between them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tactful.protocol.codec import Reader
from tactful.protocol.messages import AggregateShareReq, HpkeConfig, Report
from tactful.protocol.model import ModelRelease
from tactful.protocol.report import make_report
from tactful.protocol.task import SIGNED_AS, SignedTask, Task
from tactful.vdaf import additive
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator import aggregation, collection, preflight, upload
from tactful_aggregator.datastore import Datastore, Transaction
from tactful_aggregator.settings import Half
from tactful_aggregator.testing import made_pair

NOW = 1_700_000_000


class Pair:
    """Both halves; to the leader's code it is the peer, and calls the helper's code directly."""

    now = NOW

    def __init__(self, folder: Path, floor: int = 4) -> None:
        self.leader, self.helper = made_pair(folder, min_batch_floor=floor)
        self.open()

    def open(self) -> None:
        """Read both files, as after a start."""
        self.leader_store = Datastore(self.leader.database, "leader")
        self.helper_store = Datastore(self.helper.database, "helper")

    def close(self) -> None:
        """Let go of both files."""
        self.leader_store.close()
        self.helper_store.close()

    def reopen(self) -> None:
        """Forget everything that is not in the files."""
        self.close()
        self.open()

    # the helper, as the leader reaches it

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        return preflight.countersign_task(self.helper_store, self.helper, task, signature)

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        return preflight.countersign_release(self.helper_store, self.helper, release, signature)

    def aggregate(self, task: Task, job_id: bytes, request: bytes) -> bytes:
        return aggregation.answer(self.helper_store, self.helper, task, job_id, request, self.now)

    def aggregate_share(self, task: Task, request: bytes) -> bytes:
        return collection.share(self.helper_store, task, AggregateShareReq.decode(request))

    # tasks and reports

    def task(self, **changes: object) -> Task:
        """A small task of this pair, noise of a quarter level, that nobody has signed."""
        task = Task(
            version="tactful-1",
            model="films",
            round=0,
            rounds=1,
            kind="popularity",
            catalog="c" * 64,
            items=8,
            length=8,
            levels=14,
            box=3,
            family="discrete_gaussian",
            sigma2="1/16",
            adjacency="zero_out",
            unit="device",
            epsilon=8.0,
            delta=1e-6,
            min_batch_size=4,
            leader=self.leader.settings.url,
            helper=self.helper.settings.url,
            opens=NOW - 3600,
            expires=NOW + 86_400,
            guide=None,
        )
        return replace(task, **changes)

    def agreed(self, **changes: object) -> Task:
        """Such a task, signed and known to both halves, whether it is safe or not."""
        task = self.task(**changes)
        message = SIGNED_AS + task.document
        signers = {"leader": self.leader.keys.signer, "helper": self.helper.keys.signer}
        signed = SignedTask(task, {role: key.sign(message) for role, key in signers.items()})
        for store in (self.leader_store, self.helper_store):
            with store.transaction() as tx:
                tx.add_task(signed)
        return task

    def report(self, task: Task, measurement: NDArray[np.integer], now: int = NOW) -> Report:
        """One sealed report."""
        keys = (half.keys.opener.public_key().public_bytes_raw() for half in self.halves)
        leader, helper = (HpkeConfig(upload.CONFIG_ID, key) for key in keys)
        return make_report(task, measurement, leader=leader, helper=helper, now=now)

    def reports(self, task: Task, rows: NDArray[np.integer]) -> list[Report]:
        """One sealed report for each row, in the order of their ids."""
        made = [self.report(task, row) for row in rows]
        return sorted(made, key=lambda report: report.metadata.report_id)

    def receive(self, task: Task, *reports: Report) -> upload.Refusals:
        """Hand reports to the leader as they travel."""
        read = [Report.read(Reader(report.encode(), "Report")) for report in reports]
        return upload.receive(self.leader_store, task, read, self.now)

    def drive(self, task: Task) -> None:
        """Settle what was kept."""
        aggregation.drive(self.leader_store, self.leader, self, task)

    def collect(self, task: Task) -> tuple[NDArray[np.int64], int]:
        """The released sum and count."""
        return collection.collect(self.leader_store, self.leader, self, task)

    @property
    def halves(self) -> tuple[Half, Half]:
        return self.leader, self.helper

    def asked(self, ask: Callable[[Transaction], object]) -> tuple[object, object]:
        """What each half's file answers."""
        with self.leader_store.transaction() as one, self.helper_store.transaction() as other:
            return ask(one), ask(other)

    def total(self, task: Task) -> tuple[list[int], int]:
        """(sum, count) that both halves hold before noise; they must agree on the reports."""
        mine, theirs = self.asked(lambda tx: tx.batch(task.id))
        assert (mine.count, mine.checksum) == (theirs.count, theirs.checksum)
        leader, helper = (FIELD64.decode(one.total, task.encoding.padded) for one in (mine, theirs))
        return additive.unshard(leader, helper).tolist(), mine.count


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A leader and a helper in this process that release no batch below 4 reports."""
    pair = Pair(tmp_path)
    yield pair
    pair.close()


@pytest.fixture
def pair_kind() -> type[Pair]:
    """The class of such pairs, for tests that break one."""
    return Pair


@pytest.fixture
def now() -> int:
    """The time in every test, unix seconds."""
    return NOW
