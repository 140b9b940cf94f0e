"""Recording a consent answer, and deleting the queued reports that it ends."""

from __future__ import annotations

from collections.abc import Collection

from tactful.device.consent import PURPOSES, Consent, ConsentAnswers, Occasion
from tactful.device.network import open_shares
from tactful.device.network.send_lock import SendLock
from tactful.device.state.device_state import SETTING_KINDS, DeviceState
from tactful.device.state.projection import project
from tactful.device.vault import Vault

UPDATES, METRICS, COVER = "share_dp_updates", "share_dp_metrics", "cover_traffic"
# For each purpose of a report, the purposes that it needs.
REQUIRED_PURPOSES = {
    UPDATES: {UPDATES, "local_profile"},
    METRICS: {METRICS, "experiments"},
    COVER: {COVER},
}


def record_answer(
    vault: Vault,
    send_lock: SendLock,
    state: DeviceState,
    consent: Consent,
    occasion: Occasion,
    purposes: Collection[str] = PURPOSES,
    *,
    asked: bool,
) -> set[str]:
    """Record the person's answer for `purposes` and return those that it ended.

    When it returns, no report for an ended purpose is on its way or queued. `asked` is
    True if the person answered a notice just now.

    The answer is committed before the lock is taken: a sender checks consent after it
    took the lock, so it sees either the answer, or ends before this function does.
    """
    with vault.transaction(durable=True) as transaction:
        newer_records = transaction.read(state.position, SETTING_KINDS, tastes=False)
        answers = state.after(newer_records).answers
        changes = answers.changes(consent, occasion, purposes, asked=asked)
        for record in changes:
            transaction.append("consent", record.body())
            answers = answers.recorded(record)
    ended = {record.purpose for record in changes if record.state != "granted"}
    if "essential" in ended:
        ended |= set(PURPOSES)
    # If an earlier attempt failed after the commit, nothing changes now. So after a
    # notice, stop everything that is denied, not only what has just ended.
    denied = _denied(answers) if asked else ended
    stopped = {
        purpose for purpose, needed in REQUIRED_PURPOSES.items() if denied & needed
    }
    if stopped:
        with send_lock.exclusive():
            _drop_unsent(vault, project(vault, state), stopped, occasion.at)
    return ended


def _denied(answers: ConsentAnswers) -> set[str]:
    """Return the purposes whose newest answer is not a grant."""
    denied = {
        purpose
        for purpose, record in answers.newest.items()
        if record.state != "granted"
    }
    return set(PURPOSES) if "essential" in denied else denied


def _drop_unsent(
    vault: Vault, state: DeviceState, purposes: Collection[str], now: int
) -> None:
    """Erase every report for `purposes` that was not accepted; their charges stay."""
    unsent = [
        disclosure
        for disclosure in state.disclosures.values()
        if disclosure.purpose in purposes
        and not (disclosure.accepted or disclosure.dropped)
    ]
    if not unsent:
        return
    with vault.transaction(durable=True) as transaction:
        transaction.erase([disclosure.report for disclosure in unsent])
        for disclosure in unsent:
            open_shares.drop(transaction, disclosure.report_id)
            body = {"task_id": disclosure.task_id, "at": now}
            transaction.append("report_dropped", body)
