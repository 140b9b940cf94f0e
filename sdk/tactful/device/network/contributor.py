"""Contributions of this device: charge the budget, then send one sealed report."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tactful.device.consent import ConsentRecord
from tactful.device.network import open_shares
from tactful.device.network.config_epochs import accept
from tactful.device.network.ledger_quarantine import LedgerQuarantine
from tactful.device.network.send_lock import SendLock
from tactful.device.network.withdrawal import COVER, METRICS, UPDATES
from tactful.device.state.device_state import SETTING_KINDS, DeviceState, Disclosure
from tactful.device.state.projection import project
from tactful.device.vault import Vault
from tactful.errors import ReportRejected, VaultDamaged
from tactful.json_values import JsonResult
from tactful.privacy.budget import Charge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tactful.device.settings import Aggregators
    from tactful.protocol.dap.messages import HpkeConfig, Report
    from tactful.protocol.dap.report_upload import OpenReport
    from tactful.protocol.documents.task import Task
    from tactful.protocol.transport import Request, Response, Transport

# What a report says, by the kind of its task; shown to the person.
MEANINGS = {
    "popularity": "which items are liked",
    "subspace": "how liked items go together",
    "gram": "which pairs of items are liked together",
    "trial": "whether the new model would have found what is liked",
    "experiment": "what this device counted in its version",
}


@dataclass(frozen=True)
class Contribution(JsonResult):
    """The result of one call of `contribute`.

    `repeated` is True if the report had been made by an earlier call.
    """

    task: Task
    disclosure: Disclosure
    repeated: bool

    def to_json(self) -> dict[str, object]:
        """Return task, disclosure and `repeated` as JSON values."""
        return {
            "task_id": self.task.id.hex(),
            "model": self.task.model,
            "kind": self.task.kind,
            "round": self.task.round,
            "rounds": self.task.rounds,
            "disclosure": self.disclosure.to_json(),
            "repeated": self.repeated,
        }


class ConsentedTransport:
    """A transport that sends each request only while the person consents.

    A withdrawal waits until the request has ended.
    """

    def __init__(
        self, transport: Transport, send_lock: SendLock, require: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._send_lock = send_lock
        self._require = require

    def send(self, request: Request) -> Response:
        """Return the response to `request`.

        Raise ConsentMissing before a byte is sent, or the error of the transport.
        """
        with self._send_lock.shared():
            self._require()
            return self._transport.send(request)


class Contributor:
    """Sender of at most one report per task, and only of reports that were charged.

    `coins` rounds the measurement; it adds no noise, and privacy does not depend on it.
    """

    def __init__(
        self,
        vault: Vault,
        transport: Transport,
        aggregators: Aggregators,
        coins: Callable[[int], bytes] = secrets.token_bytes,
        quarantine: LedgerQuarantine | None = None,
        ledger_now: int = 0,
    ) -> None:
        """Prepare; `ledger_now` is ledger time (unix seconds), which dates charges."""
        self._vault = vault
        self._transport = transport
        self._aggregators = aggregators
        self._coins = coins
        self._quarantine = quarantine
        self._ledger_now = ledger_now

    def contribute(
        self, task: Task, vector: NDArray[np.float64], state: DeviceState, now: int
    ) -> Contribution:
        """Charge, record, send, in this order, so that a crash can only overcount.

        The charge and the exact bytes are on the disk before a byte of the report is
        sent. Called again for the same task, it charges nothing. If the report was not
        accepted yet, it sends the same bytes; if a key that they were sealed to has
        ended, it seals the same shares to the new key. A dropped report is not sent.

        `now` is in unix seconds. Raise BudgetExhausted, HpkeConfigRejected,
        ReportRejected, TransportError.
        """
        return self._contribute_once(task, vector, state, now, purpose_of(task))

    def cover(self, task: Task, state: DeviceState, now: int) -> Contribution:
        """Send a report of zeros, which contains nothing personal and costs nothing.

        It is sent once per task, in place of a contribution. Raise HpkeConfigRejected,
        ReportRejected, TransportError.
        """
        import numpy as np

        return self._contribute_once(task, np.zeros(task.length), state, now, COVER)

    def _contribute_once(
        self,
        task: Task,
        vector: NDArray[np.float64],
        state: DeviceState,
        now: int,
        purpose: str,
    ) -> Contribution:
        earlier = state.disclosures.get(task.id.hex())
        disclosure = earlier or self._charge_and_record(
            task, vector, state, now, purpose
        )
        if not (disclosure.accepted or disclosure.dropped):
            self._record_sending(disclosure, state)
            disclosure = self._deliver(task, disclosure, state, now)
            self._acknowledge(disclosure, now)
        return Contribution(task, disclosure, repeated=earlier is not None)

    def _charge_and_record(
        self,
        task: Task,
        vector: NDArray[np.float64],
        state: DeviceState,
        now: int,
        purpose: str,
    ) -> Disclosure:
        charge = Charge(
            task_id=task.id.hex(),
            purpose=purpose,
            rho=task.release.rho,
            time=self._ledger_now or now,
            event=task.release.event(),
        )
        if purpose != COVER:
            # Refuse before anything is fetched or computed.
            state.ledger.spend(charge)
        open_report = self._open_report(task, vector, now)
        configs = self._fetch_configs(task, state, now)
        report = open_report.sealed(task.dap, *configs)
        charge = replace(charge, report_id=report.metadata.report_id.hex())
        with self._vault.transaction(durable=True) as transaction:
            newer_records = transaction.read(
                state.position, SETTING_KINDS, tastes=False
            )
            newest = state.after(newer_records)
            earlier = newest.disclosures.get(task.id.hex())
            if earlier is not None:
                # Another process of this device was first.
                return earlier
            grant = newest.answers.newest[purpose]
            position = transaction.append("report", _report_body(task, report))
            disclosure = _disclosure(task, report, now, position, grant)
            shares = open_report.leader_share, open_report.helper_share
            open_shares.store(transaction, disclosure.report_id, shares, task.expires)
            if purpose != COVER:
                newest.ledger.spend(charge)
                transaction.append("charge", charge.body())
            transaction.append("disclosure", disclosure.body())
        return disclosure

    def _record_sending(self, disclosure: Disclosure, state: DeviceState) -> None:
        """Record once that the report is sent now, and update the rollback anchor.

        Both happen before a byte is sent: if the vault is restored later, the anchor
        knows of the charge.
        """
        if disclosure.purpose == COVER:
            return
        body = {
            "task_id": disclosure.task_id,
            "report_id": disclosure.report_id,
            "time": self._ledger_now or disclosure.at,
        }
        record_name = f"sent {disclosure.report_id}"
        self._vault.append("report_sent", body, durable=True, name=record_name)
        if self._quarantine is not None and self._quarantine.anchor is not None:
            self._quarantine.update_anchor(project(self._vault, state))

    def _open_report(
        self, task: Task, vector: NDArray[np.float64], now: int
    ) -> OpenReport:
        from tactful.protocol.dap.report_upload import OpenReport

        [encoded] = task.encoding.encode(vector[None, :], self._coins)
        return OpenReport.of(task.dap, task.measurement(encoded), now)

    def _fetch_configs(
        self, task: Task, state: DeviceState, now: int
    ) -> tuple[HpkeConfig, HpkeConfig]:
        """Return the (leader, helper) configs to seal to.

        Each is signed by its aggregator, and no older than one that was accepted.
        """
        from tactful.protocol.dap.report_upload import (
            fetch_hpke_config,
            fetch_signed_config,
        )

        transport, aggregators = self._transport, self._aggregators
        if aggregators.publisher is not None:
            # Foreign aggregators do not sign their configs.
            leader_config = fetch_hpke_config(transport, task.leader)
            return leader_config, fetch_hpke_config(transport, task.helper)
        leader_key = base64.b64decode(aggregators.leader_key)
        helper_key = base64.b64decode(aggregators.helper_key)
        leader = fetch_signed_config(transport, task.leader, "leader", leader_key, now)
        helper = fetch_signed_config(transport, task.helper, "helper", helper_key, now)
        accept(self._vault, state, aggregators.leader_key, leader)
        accept(self._vault, state, aggregators.helper_key, helper)
        return leader.hpke_config, helper.hpke_config

    def _deliver(
        self, task: Task, disclosure: Disclosure, state: DeviceState, now: int
    ) -> Disclosure:
        """Send the report; if a key has ended, seal it to the new one and send again."""
        from tactful.protocol.dap.report_upload import is_outdated

        try:
            self._send(task, disclosure)
        except ReportRejected as rejected:
            if not is_outdated(rejected):
                raise
            resealed = self._reseal(task, disclosure, state, now)
            if resealed is None:
                raise
            self._send(task, resealed)
            return resealed
        return disclosure

    def _reseal(
        self, task: Task, disclosure: Disclosure, state: DeviceState, now: int
    ) -> Disclosure | None:
        """Seal the same shares to new keys; return None if the shares were erased.

        The new report replaces the old one on the disk before it is sent. It is not
        charged, because it contains the same measurement.
        """
        from tactful.protocol.dap.messages import Report
        from tactful.protocol.dap.report_upload import OpenReport

        configs = self._fetch_configs(task, state, now)
        with self._vault.transaction(durable=True) as transaction:
            shares = open_shares.find(transaction, disclosure.report_id)
            if shares is None:
                return None
            old_report = Report.decode(
                report_bytes(self._vault, disclosure), task.dap.dap
            )
            open_report = OpenReport(
                old_report.metadata, old_report.public_share, *shares
            )
            report = open_report.sealed(task.dap, *configs)
            transaction.rewrite(disclosure.report, "report", _report_body(task, report))
            sha256 = hashlib.sha256(report.encode(task.dap.dap)).hexdigest()
            disclosure = replace(disclosure, sha256=sha256)
            transaction.append("disclosure", disclosure.body())
        return disclosure

    def _acknowledge(self, disclosure: Disclosure, now: int) -> None:
        """Record that the report was accepted, and erase its open shares."""
        with self._vault.transaction(durable=True) as transaction:
            open_shares.drop(transaction, disclosure.report_id)
            body = {"task_id": disclosure.task_id, "at": now}
            transaction.append("report_accepted", body)

    def _send(self, task: Task, disclosure: Disclosure) -> None:
        from tactful.protocol.dap.report_upload import upload

        upload(self._transport, task.dap, [report_bytes(self._vault, disclosure)])


def purpose_of(task: Task) -> str:
    """Return the purpose that a contribution to `task` needs consent for."""
    return METRICS if task.kind == "experiment" else UPDATES


def report_bytes(vault: Vault, disclosure: Disclosure) -> bytes:
    """Return the exact bytes of a report, as they are sent."""
    record = next(vault.read(disclosure.report - 1, ["report"]), None)
    if record is None or record.position != disclosure.report:
        raise VaultDamaged(
            f"vault: the report at position {disclosure.report} is missing; restore "
            "the file from a backup"
        )
    return base64.b64decode(str(record.body["bytes"]))


def _report_body(task: Task, report: Report) -> dict[str, object]:
    return {"bytes": base64.b64encode(report.encode(task.dap.dap)).decode()}


def _disclosure(
    task: Task, report: Report, now: int, position: int, grant: ConsentRecord
) -> Disclosure:
    encoded = report.encode(task.dap.dap)
    return Disclosure(
        task_id=task.id.hex(),
        report_id=report.metadata.report_id.hex(),
        purpose=grant.purpose,
        at=now,
        recipient=task.leader,
        size=len(encoded),
        sha256=hashlib.sha256(encoded).hexdigest(),
        meaning=_meaning(task, grant.purpose),
        report=position,
        consent=grant.record_id,
    )


def _meaning(task: Task, purpose: str) -> str:
    meaning = "zeros, as cover" if purpose == COVER else MEANINGS[task.kind]
    return (
        f"round {task.round + 1} of {task.rounds} for {task.model!r}: {meaning}, "
        f"as {task.length:,} whole numbers of length at most "
        f"{task.release.norm_bound:,} squared, in two sealed shares; "
        f"{task.where.label(task.honest)}"
    )
