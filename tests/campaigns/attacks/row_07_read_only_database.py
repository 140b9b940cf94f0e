"""The leader's database refuses writes for some seconds, to end its workers for good."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attacked_pair import collector_of, count_task, sent

from tactful.protocol.transport import Request
from tactful_aggregator.dap.collector import AggregateResult, Collector
from tactful_aggregator.testing import RunningPair, running_pair

TITLE = "A database that is read-only for seconds ends all workers"
REPORTS, BROKEN_SECONDS, PATIENCE_SECONDS = 3, 2.0, 8.0
REFUSE = "begin select raise(abort, 'attempt to write a readonly database'); end"


def attack(folder: Path) -> str | None:
    """Break the database while a batch is collected, repair it, and wait for the sum."""
    with running_pair(folder, min_batch_floor=1, min_count_floor=1) as pair:
        written, key = count_task(pair)
        collector = collector_of(pair, written.provisioned.task, key)
        sent(pair, collector.task, REPORTS)
        with _read_only(pair.leader.aggregator.folder / "aggregator.db"):
            job = collector.create(pair.transport, collector.everything())
            time.sleep(BROKEN_SECONDS)
            unready = _status(pair, "/readyz")
        if not _collected(pair, collector, job):
            return (
                f"no worker runs any more, and /healthz is {_status(pair, '/healthz')}"
            )
        return (
            None
            if unready == 503
            else f"/readyz was {unready} while nothing could be written"
        )


def _collected(pair: RunningPair, collector: Collector, job: str) -> bool:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        found = collector.poll(pair.transport, job, collector.everything())
        if isinstance(found, AggregateResult):
            return found.count == REPORTS
        time.sleep(0.1)
    return False


def _status(pair: RunningPair, path: str) -> int:
    return pair.transport.send(Request("GET", pair.leader.url + path)).status


@contextmanager
def _read_only(database: Path) -> Iterator[None]:
    """Refuse what workers write; a collection can still be asked for."""
    with closing(sqlite3.connect(database, timeout=30)) as raw:
        for table in ("job", "meta"):
            for event in ("insert", "update"):
                name = f"no_{event}_{table}"
                raw.execute(f"create trigger {name} before {event} on {table} {REFUSE}")
        try:
            yield
        finally:
            for table in ("job", "meta"):
                for event in ("insert", "update"):
                    raw.execute(f"drop trigger no_{event}_{table}")
