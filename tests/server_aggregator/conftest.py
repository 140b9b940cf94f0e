"""A leader and a helper in one process, each on its own file, and small tasks between them."""

import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.messages import Report, ReportMetadata, input_share_aad
from tactful.protocol.dap.report_upload import _encrypt, make_report
from tactful.protocol.dap.versions import HELPER, LEADER, ReportError
from tactful.protocol.documents.model_release import ModelRelease
from tactful.protocol.documents.task import SIGNED_AS, SignedTask, Task
from tactful.vdaf.field64 import FIELD64
from tactful.vdaf.vdaf import Vdaf
from tactful_aggregator.dap.collect_messages import AggregateShareReq, Query
from tactful_aggregator.dap.job_messages import (
    VerifyInit,
    decode_job_answer,
    encode_job,
)
from tactful_aggregator.datastore import Datastore, StoreTransaction
from tactful_aggregator.jobs import collection, helper_jobs, leader_jobs, verification
from tactful_aggregator.jobs.dependencies import Dependencies
from tactful_aggregator.keyring import Keyring
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.task_registry import ProvisionedTask, provisioned_round
from tactful_aggregator.testing import create_pair
from tactful_aggregator.training import coordinator, countersign
from tactful_aggregator.upload import accept
from tactful_aggregator.upload.report_store import ReportStore

sys.path.insert(0, str(Path(__file__).parent))  # the helper modules beside this file

NOW = 1_700_000_000


class Pair:
    """Both halves; to the leader's code it is the peer, and calls the helper's code directly."""

    now = NOW

    def __init__(self, folder: Path, floor: int = 4) -> None:
        self.leader, self.helper = create_pair(folder, min_batch_floor=floor)
        self.open()

    def open(self) -> None:
        """Read both files, as after a start."""
        self.leader_store = Datastore(self.leader.database, "leader")
        self.helper_store = Datastore(self.helper.database, "helper")
        stores = (self.leader_store, self.helper_store)
        self.leader_dependencies, self.helper_dependencies = (
            Dependencies(
                store,
                ReportStore(aggregator.folder / "reports"),
                Keyring(store, aggregator, lambda: self.now),
                lambda: self.now,
            )
            for store, aggregator in zip(stores, self.aggregators, strict=True)
        )

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
        return countersign.countersign_task(
            self.helper_store, self.helper, task, signature
        )

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        return countersign.countersign_release(
            self.helper_store, self.helper, release, signature
        )

    def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
        provisioned = self.helper_provisioned(task.id)
        return helper_jobs.answer_job(
            self.helper_dependencies, provisioned, job_id, request
        )

    def aggregate_share(self, task: DapTask, request: bytes) -> bytes:
        asked = AggregateShareReq.decode(request, task)
        return collection.release_helper_share(
            self.helper_dependencies, self.helper_provisioned(task.id), asked
        )

    def helper_provisioned(self, task_id: bytes) -> ProvisionedTask:
        """What the helper knows of a task."""
        with self.helper_store.transaction() as tx:
            return provisioned_round(tx.tasks.get(task_id).task, self.helper)

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
            nonce="0" * 32,
        )
        return replace(task, **changes)

    def agreed(self, **changes: object) -> Task:
        """Such a task, signed and known to both halves, whether it is safe or not."""
        task = self.task(**changes)
        message = SIGNED_AS + task.document
        signers = {"leader": self.leader.keys.signer, "helper": self.helper.keys.signer}
        signed = SignedTask(
            task, {role: key.sign(message) for role, key in signers.items()}
        )
        for store in (self.leader_store, self.helper_store):
            with store.transaction() as tx:
                tx.tasks.add(signed)
        return task

    def report(
        self, task: Task, measurement: NDArray[np.integer], now: int = NOW
    ) -> Report:
        """One sealed report."""
        both_dependencies = (self.leader_dependencies, self.helper_dependencies)
        leader, helper = (
            dependencies.keyring.config for dependencies in both_dependencies
        )
        measurement = task.measurement(np.asarray(measurement))
        return make_report(task.dap, measurement, leader=leader, helper=helper, now=now)

    def shared_by(
        self, task: Task, vdaf: Vdaf, measurement: NDArray[np.integer]
    ) -> Report:
        """A report whose shares a client made as it liked, sealed as they should be."""
        metadata = ReportMetadata(secrets.token_bytes(16), task.dap.wire_time(NOW))
        random = secrets.token_bytes(vdaf.random_bytes)
        public, shares = vdaf.shard(
            measurement, metadata.report_id, random, task.dap.context
        )
        return self.sealed(task, metadata, public, shares)

    def sealed(
        self, task: Task, metadata: ReportMetadata, public: bytes, shares: list[bytes]
    ) -> Report:
        """Any shares as a report."""
        aad = input_share_aad(task.dap, metadata, public)
        configs = [
            dependencies.keyring.config
            for dependencies in (self.leader_dependencies, self.helper_dependencies)
        ]
        ciphertexts = [
            _encrypt(task.dap, config, role, aad, share)
            for config, role, share in zip(
                configs, (LEADER, HELPER), shares, strict=True
            )
        ]
        return Report(metadata, public, *ciphertexts)

    def reports(self, task: Task, rows: NDArray[np.integer]) -> list[Report]:
        """One sealed report for each row, in the order of their ids."""
        made = [self.report(task, row) for row in rows]
        return sorted(made, key=lambda report: report.metadata.report_id)

    def receive(self, task: Task, *reports: Report) -> list[tuple[bytes, ReportError]]:
        """Hand reports to the leader as they travel; those that were not taken."""
        dap = task.dap.dap
        read = [Report.decode(report.encode(dap), dap) for report in reports]
        provisioned = provisioned_round(task, self.leader)
        arrivals = [
            accept.UploadedReport.of(provisioned, report, self.now) for report in read
        ]
        dependencies = self.leader_dependencies
        outcomes = accept.store_uploads(
            dependencies.store,
            dependencies.report_store,
            dependencies.keyring,
            arrivals,
        )
        return [
            (one.metadata.report_id, reason)
            for one, reason in zip(reports, outcomes, strict=True)
            if reason is not None
        ]

    def job(self, task: Task, *reports: Report) -> bytes:
        """What the leader asks of the helper about these reports, before it refuses any itself."""
        provisioned = provisioned_round(task, self.leader)
        parts = [(one.metadata, one.public_share, one.leader) for one in reports]
        verified = verification.verify_reports(
            self.leader_dependencies, provisioned, LEADER, parts
        )
        entries = [
            VerifyInit(
                one.metadata,
                one.public_share,
                one.helper,
                b"" if isinstance(v, int) else v[1],
            )
            for one, v in zip(reports, verified, strict=True)
        ]
        return encode_job(task.dap, entries)

    def answered(
        self, task: Task, job_id: bytes, request: bytes
    ) -> list[ReportError | None]:
        """Why the helper refuses each report of a job, if it does."""
        answer = decode_job_answer(
            self.aggregate(task.dap, job_id, request), task.dap.dap
        )
        return [one.outcome if isinstance(one.outcome, int) else None for one in answer]

    def drive(self, task: Task) -> None:
        """Settle what was kept."""
        leader_jobs.settle_all(
            self.leader_dependencies, self, provisioned_round(task, self.leader)
        )

    def collect(
        self, task: Task, helper: object = None
    ) -> tuple[NDArray[np.int64], int]:
        """The released sum and count; `helper` stands in for the helper's code."""
        return coordinator.Coordinator(
            self.leader_dependencies, self.leader, helper or self
        ).collect(task)

    def share(self, task: Task, count: int, checksum: bytes) -> bytes:
        """What the helper answers when the leader claims these reports."""
        asked = AggregateShareReq(Query(None), count, checksum)
        return self.aggregate_share(task.dap, asked.encode(task.dap))

    @property
    def aggregators(self) -> tuple[Aggregator, Aggregator]:
        return self.leader, self.helper

    def asked(self, ask: Callable[[StoreTransaction], object]) -> tuple[object, object]:
        """What each half's file answers."""
        with (
            self.leader_store.transaction() as one,
            self.helper_store.transaction() as other,
        ):
            return ask(one), ask(other)

    def total(self, task: Task) -> tuple[list[int], int]:
        """(sum, count) that both halves hold before noise; they must agree on the reports."""
        shares = []
        for found in self.asked(lambda tx: tx.sums.shards(task.id, 0, 1)):
            [part] = found
            shares.append(part)
        mine, theirs = shares
        assert (mine.count, mine.checksum) == (theirs.count, theirs.checksum)
        length = task.encoding.padded
        leader, helper = (FIELD64.decode(one.total, length) for one in shares)
        return FIELD64.to_integers(FIELD64.add(leader, helper)).tolist(), mine.count


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
