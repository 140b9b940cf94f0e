"""Simulated devices that send real reports to a running pair of aggregators.

A full device (`Personalizer`) has a vault, a ledger and consent, which is too slow for
thousands of devices on one machine. The devices here are measured together in one
process, by the same functions. Each still sends its own encrypted report.
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
    """The verified open round of a pair, with its round parameters."""

    task: Task
    guide: RoundParameters | None


def open_round(pair: RunningPair, model: str) -> OpenRound:
    """Fetch and verify the open round of `model`."""
    body = _fetch(pair.transport, f"{pair.leader.url}/models/{model}/task")
    task = SignedTask.decode(body).verify(
        *pair.leader.aggregator.public_keys(), now=int(time.time())
    )
    if task.guide is None:
        return OpenRound(task, None)
    body = _fetch(pair.transport, f"{pair.leader.url}/files/{task.guide}")
    return OpenRound(task, lead_of(task.kind, unpack(body)))


def send_crowd(
    pair: RunningPair,
    open_round: OpenRound,
    crowd: Population,
    progress: Progress = lambda sent: None,
) -> int:
    """Send a report for each person of `crowd`; return the size of a report in bytes.

    `progress` is called with the number of reports sent so far.
    """
    task, transport = open_round.task, pair.transport
    leader = fetch_hpke_config(transport, task.leader)
    helper = fetch_hpke_config(transport, task.helper)

    def encode(levels: Levels) -> bytes:
        measurement, now = task.measurement(levels), int(time.time())
        report = make_report(
            task.dap, measurement, leader=leader, helper=helper, now=now
        )
        return report.encode(task.dap.dap)

    sent, report_size = 0, 0
    for chunk in _measurements(open_round, crowd):
        reports = [encode(levels) for levels in chunk]
        for start in range(0, len(reports), REPORTS_PER_REQUEST):
            batch = reports[start : start + REPORTS_PER_REQUEST]
            upload(transport, task.dap, batch)
        sent, report_size = sent + len(reports), len(reports[0])
        progress(sent)
    return report_size


def _measurements(open_round: OpenRound, crowd: Population) -> Iterator[Levels]:
    task, guide = open_round.task, open_round.guide
    return crowd.measurements(task.kind, task.encoding, guide, secrets.token_bytes)


def _fetch(transport: Transport, url: str) -> bytes:
    return transport.send(Request("GET", url)).body
