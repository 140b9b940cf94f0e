"""From a measurement to a sealed report, and its way to the leader."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tactful.errors import DecodeError, ReportRejected, TransportError
from tactful.protocol import hpke
from tactful.protocol.dap import HELPER, LEADER, ReportError
from tactful.protocol.dap_task import DapTask
from tactful.protocol.messages import (
    ID_BYTES,
    HpkeCiphertext,
    HpkeConfig,
    Report,
    ReportMetadata,
    decode_config_list,
    decode_upload_errors,
    encode_plaintext_share,
    input_share_aad,
)
from tactful.protocol.transport import Method, Request, Response, Transport

if TYPE_CHECKING:
    from tactful.vdaf.vdaf import Measurement


def make_report(
    task: DapTask,
    measurement: Measurement,
    *,
    leader: HpkeConfig,
    helper: HpkeConfig,
    now: int,
) -> Report:
    """One sealed report of `measurement` at `now`, in unix seconds.

    Raises InvalidInput for a measurement that the task's type does not allow.
    """
    metadata = ReportMetadata(secrets.token_bytes(ID_BYTES), task.wire_time(now))
    random = secrets.token_bytes(task.vdaf.random_bytes)
    public, shares = task.vdaf.shard(measurement, metadata.report_id, random, task.context)
    aad = input_share_aad(task, metadata, public)
    return Report(
        metadata,
        public,
        _sealed(task, leader, LEADER, aad, shares[0]),
        _sealed(task, helper, HELPER, aad, shares[1]),
    )


def _sealed(
    task: DapTask, config: HpkeConfig, role: int, aad: bytes, share: bytes
) -> HpkeCiphertext:
    info = task.dap.input_share_info(role)
    enc, payload = hpke.seal(config.public_key, info, aad, encode_plaintext_share(share))
    return HpkeCiphertext(config.config_id, enc, payload)


def fetch_hpke_config(transport: Transport, aggregator: str) -> HpkeConfig:
    """The key that shares for `aggregator` (its base URL) are sealed to now."""
    url = f"{aggregator}/hpke_config"
    answer = transport.send(Request("GET", url))
    try:
        configs = decode_config_list(answer.body) if answer.ok else []
    except DecodeError as wrong:
        raise TransportError(f"{url}: not an aggregator's answer; check the address") from wrong
    if not configs:
        raise TransportError(f"{url}: status {answer.status}, no usable key; check the address")
    return configs[0]


def contribute(transport: Transport, task: DapTask, measurement: Measurement, now: int) -> bytes:
    """Report `measurement` once, and once more if a key was just replaced; the report's id.

    A second try is a new report, for the leader took nothing of the first. Raises ReportRejected.
    """
    for last in (False, True):
        leader, helper = (fetch_hpke_config(transport, url) for url in (task.leader, task.helper))
        report = make_report(task, measurement, leader=leader, helper=helper, now=now)
        try:
            upload(transport, task, [report.encode(task.dap)])
        except ReportRejected as refused:
            if last or refused.code not in ("outdatedConfig", "outdated_config"):
                raise
        else:
            break
    return report.metadata.report_id


def upload(transport: Transport, task: DapTask, reports: Sequence[bytes]) -> None:
    """Send encoded reports to the leader; the same bytes again change nothing.

    DAP-09 has one report in a request. Raises ReportRejected for the first report that was not
    taken, TransportError without an answer.
    """
    for body in reports if task.dap.counted else [b"".join(reports)]:
        _upload(transport, task, body)


def _upload(transport: Transport, task: DapTask, body: bytes) -> None:
    url = f"{task.leader}/tasks/{task.encoded_id}/reports"
    headers = {"Content-Type": task.dap.media_type("report", "upload-req")}
    method: Method = "PUT" if task.dap.counted else "POST"
    answer = transport.send(Request(method, url, body, headers))
    if not answer.ok:
        raise ReportRejected(*problem(answer))
    errors = [] if task.dap.counted else decode_upload_errors(answer.body, task.dap)
    for report_id, reason in errors:
        code = ReportError(reason).name.lower()
        raise ReportRejected(code, f"the leader did not take {report_id.hex()}")


def problem(answer: Response) -> tuple[str, str]:
    """(code, detail) of a problem document (RFC 9457), as far as the answer is one."""
    import json

    try:
        document = json.loads(answer.body)
        return str(document["type"]).rpartition(":")[2], str(document.get("detail", ""))
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status}", "the aggregator gave no reason"
