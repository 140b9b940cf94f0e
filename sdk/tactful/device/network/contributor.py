"""The one door out: charge the budget, then send one sealed report."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tactful.device.consent import (
    PURPOSES,
    Consent,
    ConsentAnswers,
    ConsentRecord,
    Occasion,
)
from tactful.device.network import open_shares
from tactful.device.network.config_epochs import accept
from tactful.device.network.ledger_quarantine import LedgerQuarantine
from tactful.device.network.send_lock import SendLock
from tactful.device.state.device_state import SETTLED, DeviceState, Disclosure, recall
from tactful.device.vault import Vault
from tactful.errors import ReportRejected, VaultDamaged
from tactful.privacy.budget import Charge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tactful.device.settings import Aggregators
    from tactful.protocol.dap.messages import HpkeConfig, Report
    from tactful.protocol.dap.report_upload import OpenReport
    from tactful.protocol.documents.task import Task
    from tactful.protocol.transport import Request, Response, Transport

MEANINGS = {
    "popularity": "which items are liked",
    "subspace": "how liked items go together",
    "gram": "which pairs of items are liked together",
    "trial": "whether the new model would have found what is liked",
    "experiment": "what this device counted in its version",
}
UPDATES, METRICS, COVER = "share_dp_updates", "share_dp_metrics", "cover_traffic"
RESTS_ON = {  # what is sent, and the purposes without which it may not be
    UPDATES: {UPDATES, "local_profile"},
    METRICS: {METRICS, "experiments"},
    COVER: {COVER},
}


@dataclass(frozen=True)
class Contribution:
    """What one call of `contribute` did; `repeated` if the report had been made before."""

    task: Task
    disclosure: Disclosure
    repeated: bool


class ConsentedTransport:
    """Carries a request only while the person agrees, and lets nobody withdraw halfway."""

    def __init__(
        self, transport: Transport, lock: SendLock, require: Callable[[], None]
    ) -> None:
        self._transport, self._lock, self._require = transport, lock, require

    def send(self, request: Request) -> Response:
        """The answer; raises ConsentMissing before a byte leaves, or what the transport raises."""
        with self._lock.sending():
            self._require()
            return self._transport.send(request)


class Contributor:
    """Sends at most one report per task, and never one that was not charged.

    `coins` rounds the measurement; it is no noise, and privacy does not rest on it.
    """

    def __init__(
        self,
        vault: Vault,
        transport: Transport,
        pair: Aggregators,
        coins: Callable[[int], bytes] = secrets.token_bytes,
        trust: LedgerQuarantine | None = None,
        ledger_now: int = 0,
    ) -> None:
        """`ledger_now` is the time of charges, unix seconds that no turned clock changes."""
        self._vault, self._transport, self._coins = vault, transport, coins
        self._pair = pair
        self._trust, self._ledger_now = trust, ledger_now

    def contribute(
        self, task: Task, vector: NDArray[np.float64], memory: DeviceState, now: int
    ) -> Contribution:
        """Spend, record, send - in that order, so that a crash can only overcount.

        Charge and exact bytes are on the disk before a byte of the report leaves. Called again for
        the same task it charges nothing, and sends the same bytes if they were not accepted yet;
        if a key they were sealed to has ended, the same shares are sealed to the new one. What was
        dropped when the person withdrew is not sent again.
        `now` is in unix seconds. Raises BudgetExhausted, HpkeConfigRejected, ReportRejected,
        TransportError.
        """
        return self._once(task, vector, memory, now, purpose_of(task))

    def cover(self, task: Task, memory: DeviceState, now: int) -> Contribution:
        """Send zeros in a report like any other: it says nothing of the person and costs nothing.

        Once per task, in place of a contribution. Raises HpkeConfigRejected, ReportRejected,
        TransportError.
        """
        import numpy as np

        return self._once(task, np.zeros(task.length), memory, now, COVER)

    def _once(
        self,
        task: Task,
        vector: NDArray[np.float64],
        memory: DeviceState,
        now: int,
        purpose: str,
    ) -> Contribution:
        made = memory.disclosures.get(task.id.hex())
        disclosure = made or self._spent_and_recorded(
            task, vector, memory, now, purpose
        )
        if not (disclosure.accepted or disclosure.dropped):
            self._setting_out(disclosure, memory)
            disclosure = self._delivered(task, disclosure, memory, now)
            self._acknowledge(disclosure, now)
        return Contribution(task, disclosure, repeated=made is not None)

    def _spent_and_recorded(
        self,
        task: Task,
        vector: NDArray[np.float64],
        memory: DeviceState,
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
            memory.ledger.spend(charge)  # refuse before anything is fetched or made
        made_open, configs = (
            self._shared_out(task, vector, now),
            self._configs(task, memory, now),
        )
        report = made_open.sealed(task.dap, *configs)
        charge = replace(charge, report_id=report.metadata.report_id.hex())
        with self._vault.transaction(durable=True) as writing:
            newest = memory.after(writing.read(memory.position, SETTLED, tastes=False))
            made = newest.disclosures.get(task.id.hex())
            if made is not None:
                return made  # another process of this device was first
            grant = newest.answers.newest[purpose]
            position = writing.append("report", _report_body(task, report))
            disclosure = _disclosure(task, report, now, position, grant)
            shares = made_open.leader_share, made_open.helper_share
            open_shares.keep(writing, disclosure.report_id, shares, task.expires)
            if purpose != COVER:
                newest.ledger.spend(charge)
                writing.append("charge", charge.body())
            writing.append("disclosure", disclosure.body())
        return disclosure

    def _setting_out(self, disclosure: Disclosure, memory: DeviceState) -> None:
        """Note that the report leaves now, once; and tell the anchor before it does."""
        if disclosure.purpose == COVER:
            return
        body = {
            "task_id": disclosure.task_id,
            "report_id": disclosure.report_id,
            "time": self._ledger_now or disclosure.at,
        }
        self._vault.append(
            "sent", body, durable=True, name=f"sent {disclosure.report_id}"
        )
        if self._trust is not None and self._trust.anchor is not None:
            self._trust.keep(recall(self._vault, memory))

    def _shared_out(
        self, task: Task, vector: NDArray[np.float64], now: int
    ) -> OpenReport:
        from tactful.protocol.dap.report_upload import OpenReport

        measurement = task.measurement(
            task.encoding.encode(vector[None, :], self._coins)[0]
        )
        return OpenReport.of(task.dap, measurement, now)

    def _configs(
        self, task: Task, memory: DeviceState, now: int
    ) -> tuple[HpkeConfig, HpkeConfig]:
        """The configs to seal to, each signed by its aggregator and no older than one before."""
        from tactful.protocol.dap.report_upload import (
            fetch_hpke_config,
            fetch_signed_config,
        )

        carrier, pair = self._transport, self._pair
        if pair.publisher is not None:  # foreign aggregators sign no configs
            return fetch_hpke_config(carrier, task.leader), fetch_hpke_config(
                carrier, task.helper
            )
        pinned = base64.b64decode(pair.leader_key), base64.b64decode(pair.helper_key)
        leader = fetch_signed_config(carrier, task.leader, "leader", pinned[0], now)
        helper = fetch_signed_config(carrier, task.helper, "helper", pinned[1], now)
        accept(self._vault, memory, pair.leader_key, leader)
        accept(self._vault, memory, pair.helper_key, helper)
        return leader.hpke_config, helper.hpke_config

    def _delivered(
        self, task: Task, disclosure: Disclosure, memory: DeviceState, now: int
    ) -> Disclosure:
        """Send the report; once more in a new envelope if a key it was sealed to has ended."""
        from tactful.protocol.dap.report_upload import is_outdated

        try:
            self._send(task, disclosure)
        except ReportRejected as refused:
            if not is_outdated(refused):
                raise
            resealed = self._sealed_anew(task, disclosure, memory, now)
            if resealed is None:
                raise
            disclosure = resealed
            self._send(task, disclosure)
        return disclosure

    def _sealed_anew(
        self, task: Task, disclosure: Disclosure, memory: DeviceState, now: int
    ) -> Disclosure | None:
        """Put the same shares into a new envelope; None if they are not there any more.

        It takes the place of the old one on the disk before it leaves, and costs nothing.
        """
        from tactful.protocol.dap.messages import Report
        from tactful.protocol.dap.report_upload import OpenReport

        configs = self._configs(task, memory, now)
        with self._vault.transaction(durable=True) as writing:
            shares = open_shares.find(writing, disclosure.report_id)
            if shares is None:
                return None
            sealed = Report.decode(report_bytes(self._vault, disclosure), task.dap.dap)
            made_open = OpenReport(sealed.metadata, sealed.public_share, *shares)
            report = made_open.sealed(task.dap, *configs)
            writing.rewrite(disclosure.report, "report", _report_body(task, report))
            sha256 = hashlib.sha256(report.encode(task.dap.dap)).hexdigest()
            disclosure = replace(disclosure, sha256=sha256)
            writing.append("disclosure", disclosure.body())
        return disclosure

    def _acknowledge(self, disclosure: Disclosure, now: int) -> None:
        """Note that the report was taken; the open shares are needed no more."""
        with self._vault.transaction(durable=True) as writing:
            open_shares.drop(writing, disclosure.report_id)
            writing.append("receipt", {"task_id": disclosure.task_id, "at": now})

    def _send(self, task: Task, disclosure: Disclosure) -> None:
        from tactful.protocol.dap.report_upload import upload

        upload(self._transport, task.dap, [report_bytes(self._vault, disclosure)])


def answer(
    vault: Vault,
    lock: SendLock,
    memory: DeviceState,
    consent: Consent,
    occasion: Occasion,
    *,
    asked: bool,
) -> set[str]:
    """Record the person's answer; when it returns nothing withdrawn is on its way, or waits.

    The answer is committed first: whoever sends asks again with the lock in hand. Returns the
    purposes that were ended.
    """
    with vault.transaction(durable=True) as writing:
        answers = memory.after(
            writing.read(memory.position, SETTLED, tastes=False)
        ).answers
        changes = answers.changes(consent, occasion, asked=asked)
        for record in changes:
            writing.append("consent", record.body())
            answers = answers.recorded(record)
    ended = {record.purpose for record in changes if record.state != "granted"}
    if "essential" in ended:
        ended |= set(PURPOSES)
    denied = (
        _denied(answers) if asked else ended
    )  # asked again after a fault, all is stopped anew
    stopped = {purpose for purpose, rests_on in RESTS_ON.items() if denied & rests_on}
    if stopped:
        with lock.withdrawing():
            _drop_unsent(vault, recall(vault, memory), stopped, occasion.at)
    return ended


def _denied(answers: ConsentAnswers) -> set[str]:
    """Return the purposes that the person said no to, last."""
    said_no = {
        purpose for purpose, one in answers.newest.items() if one.state != "granted"
    }
    return set(PURPOSES) if "essential" in said_no else said_no


def _drop_unsent(
    vault: Vault, memory: DeviceState, purposes: Collection[str], now: int
) -> None:
    """Erase every report for `purposes` that was made and not accepted; their charges stay."""
    waiting = [
        one
        for one in memory.disclosures.values()
        if one.purpose in purposes and not (one.accepted or one.dropped)
    ]
    if waiting:
        with vault.transaction(durable=True) as writing:
            writing.erase([disclosure.report for disclosure in waiting])
            for disclosure in waiting:
                open_shares.drop(writing, disclosure.report_id)
                writing.append("dropped", {"task_id": disclosure.task_id, "at": now})


def purpose_of(task: Task) -> str:
    """What a person agrees to when they contribute to `task`."""
    return METRICS if task.kind == "experiment" else UPDATES


def report_bytes(vault: Vault, disclosure: Disclosure) -> bytes:
    """The exact bytes of a report, as they left or will leave."""
    record = next(vault.read(disclosure.report - 1, ["report"]), None)
    if record is None or record.position != disclosure.report:
        raise VaultDamaged(f"vault: the report at position {disclosure.report} is gone")
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
        f"as {task.length:,} whole numbers of length at most {task.release.norm_bound:,} squared, "
        f"in two sealed shares; {task.where.label(task.honest)}"
    )
