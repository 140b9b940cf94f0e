"""A crowd of light devices over the real wire: measured together, sealed and sent one by one.

A full device (`Personalizer`) keeps a vault, a ledger and consent. Three thousand of those on one
machine would show little more; the others are measured by the same functions in one process, and
each still sends its own sealed report to the running pair.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tactful.learning.round_parameters import RoundParameters, lead_of
from tactful.protocol.dap.report_upload import fetch_hpke_config, make_report, upload
from tactful.protocol.documents.model_release import unpack
from tactful.protocol.documents.task import SignedTask, Task
from tactful.protocol.transport import Request, Transport
from tactful.protocol.vector_encoding import Levels
from tactful_aggregator.testing import RunningPair
from tactful_lab.simulation.population import Population

REPORTS_PER_REQUEST = 32

Progress = Callable[[int], None]


@dataclass(frozen=True)
class OpenRound:
    """The round that is open at the pair, verified, and its guide."""

    task: Task
    guide: RoundParameters | None


def open_round(pair: RunningPair, model: str) -> OpenRound:
    """Fetch and verify the open round of `model`."""
    body = _fetched(pair.transport, f"{pair.leader.url}/models/{model}/task")
    task = SignedTask.decode(body).verify(
        *pair.leader.aggregator.public_keys(), now=int(time.time())
    )
    if task.guide is None:
        return OpenRound(task, None)
    guide = _fetched(pair.transport, f"{pair.leader.url}/files/{task.guide}")
    return OpenRound(task, lead_of(task.kind, unpack(guide)))


def send_crowd(
    pair: RunningPair,
    here: OpenRound,
    crowd: Population,
    progress: Progress = lambda sent: None,
) -> int:
    """Send a report for everyone in `crowd`; the size of one report in bytes."""
    task, sent, size = here.task, 0, 0
    keys = [
        fetch_hpke_config(pair.transport, url) for url in (task.leader, task.helper)
    ]
    for chunk in _measured(here, crowd):
        reports = [
            make_report(
                task.dap,
                task.measurement(row),
                leader=keys[0],
                helper=keys[1],
                now=int(time.time()),
            ).encode(task.dap.dap)
            for row in chunk
        ]
        for start in range(0, len(reports), REPORTS_PER_REQUEST):
            upload(
                pair.transport, task.dap, reports[start : start + REPORTS_PER_REQUEST]
            )
        sent, size = sent + len(reports), len(reports[0])
        progress(sent)
    return size


def _measured(here: OpenRound, crowd: Population) -> Iterator[Levels]:
    return crowd.measurements(
        here.task.kind, here.task.encoding, here.guide, secrets.token_bytes
    )


def _fetched(transport: Transport, url: str) -> bytes:
    return transport.send(Request("GET", url)).body
