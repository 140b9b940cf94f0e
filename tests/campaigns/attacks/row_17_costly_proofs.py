"""Anyone asks the leader for proofs from a long log, hoping that each costs it seconds of CPU."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tactful.protocol.log.transcript import follow
from tactful.protocol.transport import HttpTransport, Request
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.testing import running_pair

TITLE = "Anonymous requests for proofs from a log of 5,000 entries"
ENTRIES, REQUESTS = 5_000, 40
CPU_SECONDS = 0.005  # for one proof


def attack(folder: Path) -> str | None:
    """Ask for many proofs and compare the leader's CPU time with the limit."""
    with running_pair(folder, min_batch_floor=1) as pair:
        store = Datastore(pair.leader.aggregator.database, "leader")
        with store.transaction() as tx:
            for number in range(ENTRIES):
                entry = follow(number, "task", b"%d" % number, number)
                tx.published.append_entry(number, entry.encode())
        store.close()
        digest = hashlib.sha256(b"77").hexdigest()
        proof = Request("GET", f"{pair.leader.url}/transcript/proofs/{digest}/100")
        transport = HttpTransport()
        _require_ok(transport, proof)  # the first one reads the log
        process = pair.leader.process
        if process is None:
            raise RuntimeError("the leader does not run")
        before = _cpu_seconds(process.pid)
        for _ in range(REQUESTS):
            _require_ok(transport, proof)
        each = (_cpu_seconds(process.pid) - before) / REQUESTS
    if each > CPU_SECONDS:
        return f"{1000 * each:.0f} ms of the leader's CPU for each request"
    return None


def _require_ok(transport: HttpTransport, request: Request) -> None:
    status = transport.send(request).status
    if status != 200:
        raise RuntimeError(f"a proof was answered with {status}")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
