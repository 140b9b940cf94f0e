"""A pair of real processes, one of which is killed (SIGKILL) as its n-th SQL statement begins.

`python killed_pair.py leader:7 helper:12 ...` prints what went wrong, as JSON; with `forgetful` as
its first word the helper forgets what it counted, until something has gone wrong. Both halves are
forks of this process, which has loaded everything, and are served over loopback as in production.
Each report is its own one-hot vector and is sent until it is acknowledged: the sum is all ones.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np
import uvicorn
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import Engine, event

from tactful.errors import TactfulError, TransportError
from tactful.protocol.dap.dap_task import encoded
from tactful.protocol.dap.report_upload import fetch_hpke_config, make_report, upload
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import HttpTransport
from tactful_aggregator.app import Service, build
from tactful_aggregator.dap.collector import AggregateResult, Collector
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.datastore.jobs import JobQueries
from tactful_aggregator.datastore.reports import ReportQueries
from tactful_aggregator.jobs import leader_jobs
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.task_registry import OperatorTask, ProvisionedTask
from tactful_aggregator.testing import create_pair

REPORTS = 6
CONFIG = VdafConfig(kind="sum_vec_field64", length=REPORTS, most=1, chunk=3, proofs=3)
PATIENCE_SECONDS = 60.0
Place = Path | str
T = TypeVar("T")


class Process:
    """One half as a forked process; `die_at` counts its statements from the first of its start."""

    def __init__(self, aggregator: Aggregator, place: Place) -> None:
        self.aggregator, self.place, self.child, self.forgetful = (
            aggregator,
            place,
            0,
            False,
        )

    def start(self, die_at: int = 0) -> None:
        self.child = os.fork()
        if self.child == 0:
            try:
                self._serve(die_at)
            finally:
                os._exit(1)

    def _serve(self, die_at: int) -> None:
        if die_at:
            _die_at(die_at)
        if self.forgetful:
            setattr(JobQueries, "response", lambda *_: None)  # noqa: B010 - a fault
            setattr(ReportQueries, "add_id", lambda *_: True)  # noqa: B010 - a fault
        leader_jobs.LEASE_SECONDS = 1  # in production a lease outlives a slow job
        store = Datastore(self.place, self.aggregator.settings.role)
        if store.is_local:
            with store.transaction() as tx:
                tx.jobs.release_leases()
        app = build(Service(self.aggregator, store, HttpTransport()))
        port = urlsplit(self.aggregator.settings.url).port or 0
        uvicorn.run(app, port=port, log_level="critical", access_log=False)

    def is_dead(self) -> bool:
        ended, _ = os.waitpid(self.child, os.WNOHANG)
        return ended == self.child

    def stop(self) -> None:
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)


def _die_at(number: int) -> None:
    lock, seen = threading.Lock(), 0

    def count(*_: object) -> None:
        nonlocal seen
        with lock:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    for moment in ("before_cursor_execute", "begin", "commit"):
        event.listen(Engine, moment, count)


class Life:
    """One task from its first report to its sum, whatever dies meanwhile."""

    def __init__(self, folder: Path, places: tuple[Place, Place] | None) -> None:
        aggregators = create_pair(folder, min_batch_floor=1, min_count_floor=1)
        where = places or (aggregators[0].database, aggregators[1].database)
        self.leader, self.helper = (
            Process(*one) for one in zip(aggregators, where, strict=True)
        )
        self.kills = 0
        self.key, self.until = (
            X25519PrivateKey.generate(),
            time.monotonic() + PATIENCE_SECONDS,
        )
        self.provisioned = self._provided()

    def run(self, role: str, die_at: int) -> list[str]:
        """What is wrong with the sum; `role` dies at a statement, and is started again."""
        for one in (self.leader, self.helper):
            one.start(die_at if one.aggregator.settings.role == role else 0)
        try:
            return self._judged()
        finally:
            self.leader.stop()
            self.helper.stop()

    def _judged(self) -> list[str]:
        task, transport = self.provisioned.task, HttpTransport()
        keys = [self._kept_asking(lambda url=u: fetch_hpke_config(transport, url)) for u in
                (task.leader, task.helper)]  # fmt: skip
        for place in range(REPORTS):
            row = (np.arange(REPORTS) == place).astype(int)
            made = make_report(
                task, row, leader=keys[0], helper=keys[1], now=int(time.time())
            )
            body = made.encode(task.dap)
            self._kept_asking(lambda body=body: upload(transport, task, [body]))
        collector = Collector(
            task, 5, self.key, self.leader.aggregator.keys.collector_token
        )
        query = collector.everything()
        job = self._kept_asking(lambda: collector.create(transport, query))
        sums = [
            self._kept_asking(lambda: _ready(collector.poll(transport, job, query)))
        ]
        sums.append(
            self._kept_asking(lambda: _ready(collector.poll(transport, job, query)))
        )
        totals = [task.vdaf.field.signed(one.total) for one in sums]
        wrong = [] if totals[0] == [1] * REPORTS else [f"the sum is {totals[0]}"]
        if totals[0] != totals[1]:
            wrong.append("asked again, the sum is another")
        return (
            wrong
            if sums[0].count == REPORTS
            else [*wrong, f"{sums[0].count} were counted"]
        )

    def _kept_asking(self, ask: Callable[[], T]) -> T:
        """The answer, once whoever has died runs again."""
        while True:
            try:
                return ask()
            except TransportError as lost:
                if time.monotonic() > self.until:
                    raise TactfulError(f"it never ends: {lost}") from lost
                self._start_the_dead()
                time.sleep(0.02)

    def _start_the_dead(self) -> None:
        for one in (self.leader, self.helper):
            if one.is_dead():
                self.kills += 1
                one.start()

    def _provided(self) -> ProvisionedTask:
        now, processes = int(time.time()), (self.leader, self.helper)
        leader, helper = (one.aggregator for one in processes)
        written = OperatorTask(
            protocol="dap-18",
            leader=leader.settings.url,
            helper=helper.settings.url,
            time_precision=3600,
            min_batch_size=REPORTS,
            batch_mode="leader_selected",
            opens=now - 3600,
            expires=now + 7200,
            vdaf=CONFIG,
            info=secrets.token_hex(8),
            verify_key=encoded(secrets.token_bytes(32)),
            collector_config_id=5,
            collector_key=encoded(self.key.public_key().public_bytes_raw()),
            noise="none",
        )
        for one in processes:
            store = Datastore(one.place, one.aggregator.settings.role)
            with store.transaction() as tx:
                tx.tasks.add_provisioned(
                    written.provisioned.task.id, written.document, written.expires
                )
            store.close()
        return written.provisioned


def _ready(answer: AggregateResult | float) -> AggregateResult:
    if isinstance(answer, float):
        raise TransportError("not yet")
    return answer


def crimes(
    role: str,
    die_at: int,
    places: tuple[Place, Place] | None = None,
    *,
    forgetful: bool = False,
) -> list[str]:
    """What a kill of `role` at its statement `die_at` spoilt, or that there was none."""
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder), places)
        life.helper.forgetful = forgetful
        try:
            wrong = life.run(role, die_at)
        except TactfulError as stuck:
            wrong = [str(stuck)]
    return wrong if life.kills == 1 else [*wrong, f"{life.kills} kills"]


def main(words: list[str]) -> None:
    found, forgetful = {}, "forgetful" in words
    for kill in words[forgetful:]:
        role, _, at = kill.partition(":")
        found[kill] = crimes(role, int(at), forgetful=forgetful)
        if forgetful and found[kill]:
            break
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
