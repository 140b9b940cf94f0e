"""Reports: shard and encrypt a measurement, and upload it to the leader."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tactful.errors import DecodeError, ReportRejected, TransportError
from tactful.protocol.dap import hpke
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.messages import (
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
from tactful.protocol.dap.versions import HELPER, LEADER, ReportError
from tactful.protocol.transport import Method, Request, Response, Transport

if TYPE_CHECKING:
    from tactful.protocol.dap.signed_hpke_config import ConfigDocument, Role
    from tactful.vdaf.vdaf import Measurement


@dataclass(frozen=True, repr=False)
class OpenReport:
    """A report before encryption; its two shares together contain the measurement."""

    metadata: ReportMetadata
    public_share: bytes
    leader_share: bytes
    helper_share: bytes

    @classmethod
    def of(cls, task: DapTask, measurement: Measurement, now: int) -> OpenReport:
        """Return the shares of `measurement` at `now` (unix seconds), with a new id.

        Raise InvalidInput for a measurement that the VDAF of the task does not allow.
        """
        metadata = ReportMetadata(secrets.token_bytes(ID_BYTES), task.wire_time(now))
        random = secrets.token_bytes(task.vdaf.random_bytes)
        public, shares = task.vdaf.shard(
            measurement, metadata.report_id, random, task.context
        )
        return cls(metadata, public, shares[0], shares[1])

    def sealed(self, task: DapTask, leader: HpkeConfig, helper: HpkeConfig) -> Report:
        """Return the report with its shares encrypted to these configs.

        Each call encrypts anew, but the report is the same.
        """
        aad = input_share_aad(task, self.metadata, self.public_share)
        return Report(
            self.metadata,
            self.public_share,
            _encrypt(task, leader, LEADER, aad, self.leader_share),
            _encrypt(task, helper, HELPER, aad, self.helper_share),
        )


def make_report(
    task: DapTask,
    measurement: Measurement,
    *,
    leader: HpkeConfig,
    helper: HpkeConfig,
    now: int,
) -> Report:
    """Return an encrypted report of `measurement` at `now` (unix seconds).

    Raise InvalidInput for a measurement that the VDAF of the task does not allow.
    """
    return OpenReport.of(task, measurement, now).sealed(task, leader, helper)


def _encrypt(
    task: DapTask, config: HpkeConfig, role: int, aad: bytes, share: bytes
) -> HpkeCiphertext:
    info = task.dap.input_share_info(role)
    plaintext = encode_plaintext_share(share)
    enc, payload = hpke.seal(config.public_key, info, aad, plaintext)
    return HpkeCiphertext(config.config_id, enc, payload)


def fetch_hpke_config(transport: Transport, aggregator: str) -> HpkeConfig:
    """Return the HPKE config of `aggregator` (its base URL), protected by TLS alone.

    For Tactful aggregators use `fetch_signed_config`.
    """
    url = f"{aggregator}/hpke_config"
    response = transport.send(Request("GET", url))
    try:
        configs = decode_config_list(response.body) if response.ok else []
    except DecodeError as error:
        raise TransportError(
            f"{url}: the answer is not that of an aggregator; check the address"
        ) from error
    if not configs:
        raise TransportError(
            f"{url}: status {response.status} without a usable key; check the address"
        )
    return configs[0]


def fetch_signed_config(
    transport: Transport, aggregator: str, role: Role, public_key: bytes, now: int
) -> ConfigDocument:
    """Return the config that `aggregator` signed with its pinned `public_key`.

    Raise HpkeConfigRejected for what is wrong, TransportError without an answer.
    """
    from tactful.protocol.dap.signed_hpke_config import verified

    url = f"{aggregator}/hpke_config/signed"
    response = transport.send(Request("GET", url))
    if not response.ok:
        raise TransportError(
            f"{url}: status {response.status}; check that the address is that of a "
            "Tactful aggregator"
        )
    return verified(response.body, role, public_key, now)


def is_outdated(rejected: ReportRejected) -> bool:
    """Return True if a report was rejected because one of its keys has ended."""
    return rejected.code in ("outdatedConfig", "outdated_config")


def contribute(
    transport: Transport, task: DapTask, measurement: Measurement, now: int
) -> bytes:
    """Upload a report of `measurement` and return its id.

    If a key was just replaced, encrypt the same report to the new one and retry once.
    Raise ReportRejected.
    """
    report = OpenReport.of(task, measurement, now)
    for is_last_try in (False, True):
        leader = fetch_hpke_config(transport, task.leader)
        helper = fetch_hpke_config(transport, task.helper)
        encoded_report = report.sealed(task, leader, helper).encode(task.dap)
        try:
            upload(transport, task, [encoded_report])
        except ReportRejected as rejected:
            if is_last_try or not is_outdated(rejected):
                raise
        else:
            break
    return report.metadata.report_id


def upload(transport: Transport, task: DapTask, reports: Sequence[bytes]) -> None:
    """Send encoded reports to the leader; the same bytes again change nothing.

    Raise ReportRejected for the first rejected report, TransportError without an
    answer.
    """
    # DAP-09 has one report in a request.
    bodies = reports if task.dap.counted else [b"".join(reports)]
    for body in bodies:
        _upload(transport, task, body)


def _upload(transport: Transport, task: DapTask, body: bytes) -> None:
    url = f"{task.leader}/tasks/{task.encoded_id}/reports"
    headers = {"Content-Type": task.dap.media_type("report", "upload-req")}
    method: Method = "PUT" if task.dap.counted else "POST"
    response = transport.send(Request(method, url, body, headers))
    if not response.ok:
        raise ReportRejected(*problem(response))
    if task.dap.counted:
        return
    for report_id, reason in decode_upload_errors(response.body, task.dap):
        code = ReportError(reason).name.lower()
        raise ReportRejected(code, f"the leader rejected report {report_id.hex()}")


def problem(response: Response) -> tuple[str, str]:
    """Return (code, detail) of a problem document (RFC 9457), or the status."""
    import json

    try:
        document = json.loads(response.body)
        return str(document["type"]).rpartition(":")[2], str(document.get("detail", ""))
    except (ValueError, KeyError, TypeError):
        return f"status {response.status}", "the aggregator gave no reason"
