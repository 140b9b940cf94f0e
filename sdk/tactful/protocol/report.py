"""From a measurement to a sealed report, and its way to the leader."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tactful.errors import DecodeError, ReportRejected, TransportError
from tactful.protocol import hpke
from tactful.protocol.messages import (
    HELPER,
    INPUT_SHARE_INFO,
    LEADER,
    MEDIA_TYPE,
    HpkeCiphertext,
    HpkeConfig,
    Report,
    ReportMetadata,
    decode_config_list,
    decode_upload_errors,
    encode_plaintext_share,
    input_share_aad,
)
from tactful.protocol.task import TIME_PRECISION, Task
from tactful.protocol.transport import Request, Response, Transport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def make_report(
    task: Task,
    measurement: NDArray[np.integer],
    *,
    leader: HpkeConfig,
    helper: HpkeConfig,
    now: int,
) -> Report:
    """One sealed report: `measurement` is whole levels, shape (padded,); `now` unix seconds."""
    from tactful.vdaf import additive
    from tactful.vdaf.field64 import FIELD64

    metadata = ReportMetadata(secrets.token_bytes(16), now // TIME_PRECISION)
    vector, seed = additive.shard(
        measurement, secrets.token_bytes(32), task.id + metadata.report_id
    )
    aad = input_share_aad(task.id, task.document, metadata, b"")
    return Report(
        metadata,
        b"",
        _sealed(leader, LEADER, aad, FIELD64.encode(vector)),
        _sealed(helper, HELPER, aad, seed),
    )


def _sealed(config: HpkeConfig, role: int, aad: bytes, share: bytes) -> HpkeCiphertext:
    info = INPUT_SHARE_INFO + bytes([role])
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


def upload(transport: Transport, task: Task, reports: Sequence[bytes]) -> None:
    """Send encoded reports to the leader; the same bytes again change nothing.

    Raises ReportRejected for the first report that was not taken, TransportError without answer.
    """
    url = f"{task.leader}/tasks/{task.encoded_id}/reports"
    headers = {"Content-Type": f"{MEDIA_TYPE}upload-req"}
    answer = transport.send(Request("POST", url, b"".join(reports), headers))
    if not answer.ok:
        raise ReportRejected(*_problem(answer))
    for report_id, reason in decode_upload_errors(answer.body):
        raise ReportRejected(reason.name.lower(), f"the leader did not take {report_id.hex()}")


def _problem(answer: Response) -> tuple[str, str]:
    """(code, detail) of a problem document (RFC 9457), as far as the answer is one."""
    import json

    try:
        problem = json.loads(answer.body)
        return str(problem["type"]).rpartition(":")[2], str(problem.get("detail", ""))
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status}", "the leader gave no reason"
