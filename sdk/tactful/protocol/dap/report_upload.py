"""From a measurement to a sealed report, and its way to the leader."""

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
    """A report before its shares are sealed: both together hold the measurement."""

    metadata: ReportMetadata
    public_share: bytes
    leader_share: bytes
    helper_share: bytes

    @classmethod
    def of(cls, task: DapTask, measurement: Measurement, now: int) -> OpenReport:
        """Share out `measurement` at `now`, in unix seconds, under a fresh id.

        Raise InvalidInput for a measurement that the task's type does not allow.
        """
        metadata = ReportMetadata(secrets.token_bytes(ID_BYTES), task.wire_time(now))
        random = secrets.token_bytes(task.vdaf.random_bytes)
        public, shares = task.vdaf.shard(
            measurement, metadata.report_id, random, task.context
        )
        return cls(metadata, public, shares[0], shares[1])

    def sealed(self, task: DapTask, leader: HpkeConfig, helper: HpkeConfig) -> Report:
        """Seal the shares to these configs; each call gives the same report in another envelope."""
        aad = input_share_aad(task, self.metadata, self.public_share)
        return Report(
            self.metadata,
            self.public_share,
            _sealed(task, leader, LEADER, aad, self.leader_share),
            _sealed(task, helper, HELPER, aad, self.helper_share),
        )


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
    return OpenReport.of(task, measurement, now).sealed(task, leader, helper)


def _sealed(
    task: DapTask, config: HpkeConfig, role: int, aad: bytes, share: bytes
) -> HpkeCiphertext:
    info = task.dap.input_share_info(role)
    enc, payload = hpke.seal(
        config.public_key, info, aad, encode_plaintext_share(share)
    )
    return HpkeCiphertext(config.config_id, enc, payload)


def fetch_hpke_config(transport: Transport, aggregator: str) -> HpkeConfig:
    """The key that shares for `aggregator` (its base URL) are sealed to now.

    It is unsigned, so that only TLS protects it; of our own pair use `fetch_signed_config`.
    """
    url = f"{aggregator}/hpke_config"
    answer = transport.send(Request("GET", url))
    try:
        configs = decode_config_list(answer.body) if answer.ok else []
    except DecodeError as wrong:
        raise TransportError(
            f"{url}: not an aggregator's answer; check the address"
        ) from wrong
    if not configs:
        raise TransportError(
            f"{url}: status {answer.status}, no usable key; check the address"
        )
    return configs[0]


def fetch_signed_config(
    transport: Transport, aggregator: str, role: Role, public_key: bytes, now: int
) -> ConfigDocument:
    """Fetch and verify the config that `aggregator` signed with the key that is pinned for it.

    Raise HpkeConfigRejected naming what is wrong, or TransportError without an answer.
    """
    from tactful.protocol.dap.signed_hpke_config import verified

    url = f"{aggregator}/hpke_config/signed"
    answer = transport.send(Request("GET", url))
    if not answer.ok:
        raise TransportError(
            f"{url}: status {answer.status}; is this a Tactful aggregator?"
        )
    return verified(answer.body, role, public_key, now)


def is_outdated(refused: ReportRejected) -> bool:
    """Return whether a report was refused because a key it was sealed to has ended."""
    return refused.code in ("outdatedConfig", "outdated_config")


def contribute(
    transport: Transport, task: DapTask, measurement: Measurement, now: int
) -> bytes:
    """Report `measurement` once, and once more if a key was just replaced; the report's id.

    The second try is the same report, sealed anew. Raises ReportRejected.
    """
    report = OpenReport.of(task, measurement, now)
    for last in (False, True):
        leader, helper = (
            fetch_hpke_config(transport, url) for url in (task.leader, task.helper)
        )
        try:
            upload(
                transport, task, [report.sealed(task, leader, helper).encode(task.dap)]
            )
        except ReportRejected as refused:
            if last or not is_outdated(refused):
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
