"""G: what the pair published: all of it in one log, the same for everybody, in the right order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    NotShown,
    ShownLedger,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.errors import ProtocolError
from tactful.protocol.documents.model_release import SIGNED_AS as RELEASE_SIGNED_AS
from tactful.protocol.documents.model_release import SignedRelease
from tactful.protocol.documents.task import SIGNED_AS as TASK_SIGNED_AS
from tactful.protocol.documents.task import TIME_PRECISION
from tactful.protocol.log import merkle, transcript
from tactful.protocol.log.transcript import Checkpoint, SignedCheckpoint
from tactful.protocol.signed_json import verify_both


def included(case: AuditCase) -> CheckOutcome:
    """G1: every task, batch and release that was shown is in the log, signed by both halves.

    And nothing else is: a training that was not shown costs too.
    """
    keys = case.keys.decoded()
    logged = {(entry.kind, entry.sha256) for entry in case.log}
    for task in case.signed_tasks:
        verify_both(TASK_SIGNED_AS + task.task.document, task.signatures, *keys)
        _in(logged, "task", task.task.document)
    for release in case.signed_releases:
        verify_both(
            RELEASE_SIGNED_AS + release.release.document, release.signatures, *keys
        )
        _in(logged, "release", release.release.document)
    for record in case.records:
        _in(logged, "result", record.document)
    unseen = logged - _shown(case)
    if unseen:
        kinds = ", ".join(sorted({kind for kind, _ in unseen}))
        return CheckOutcome(
            None, f"{len(unseen)} logged documents ({kinds}) were not shown"
        )
    return CheckOutcome(
        True, f"{len(case.log)} entries hold all {len(case.signed_releases)} releases"
    )


Logged = tuple[transcript.Kind, str]  # of an entry: what it is, and its SHA-256


def _in(logged: set[Logged], kind: transcript.Kind, document: bytes) -> None:
    require(
        _entry(kind, document) in logged,
        f"a {kind} was published that the log does not hold",
    )


def _entry(kind: transcript.Kind, document: bytes) -> Logged:
    return kind, hashlib.sha256(document).hexdigest()


def _shown(case: AuditCase) -> set[Logged]:
    """What the log should hold and no more: whatever else it holds may be of the claimed model."""
    return {
        *(_entry("task", one.task.document) for one in case.signed_tasks),
        *(_entry("release", one.release.document) for one in case.signed_releases),
        *(_entry("result", one.document) for one in case.records),
    }


def consistent(case: AuditCase) -> CheckOutcome:
    """G2: the entries are numbered and in time's order, and hash to the newest signed head."""
    head = transcript.checkpoint(case.log)
    signed = [one for _, one in _heads(case)]
    newest = max(signed, key=lambda one: one.size)
    require(
        newest.size <= head.size,
        f"the head holds {newest.size}, {head.size} were shown",
    )
    tree = merkle.MerkleTree(entry.leaf for entry in case.log)
    for one in signed:
        root = tree.root(one.size).hex()
        require(
            root == one.root,
            f"the log of {one.size} entries is not the one that was signed",
        )
        proof = tree.consistency(one.size)
        grew = merkle.grew(
            bytes.fromhex(root), one.size, bytes.fromhex(head.root), head.size, proof
        )
        require(grew, f"the log did not grow from its first {one.size} entries")
    return CheckOutcome(True, f"{head.size} entries under {len(signed)} signed heads")


def one_view(case: AuditCase) -> CheckOutcome:
    """G3: all heads that anybody saw are heads of one log; two that differ prove a split view."""
    by_size: dict[int, tuple[str, str]] = {}
    tree = merkle.MerkleTree(entry.leaf for entry in case.log)
    for seen_by, head in _heads(case):
        first = by_size.setdefault(head.size, (head.root, seen_by))
        require(
            first[0] == head.root,
            f"{first[1]} and {seen_by} were shown different logs of {head.size} entries; "
            "both heads are signed",
        )
        if head.size <= len(tree):
            root = tree.root(head.size).hex()
            require(
                root == head.root, f"{seen_by} was shown a log that is not this one"
            )
    return CheckOutcome(True, f"{len(list(_heads(case)))} heads, one log")


def _heads(case: AuditCase) -> Iterator[tuple[str, Checkpoint]]:
    leader = case.keys.decoded()[0]
    shown = [(head.seen_by, head.checkpoint) for head in case.evidence.documents.heads]
    ledgers = case.ledgers if case.evidence.documents.ledgers else ()
    shown += [
        (_name(one), str(one.document["checkpoint"])) for one in ledgers if _kept(one)
    ]
    if not shown:
        raise NotShown("no signed head was shown")
    for seen_by, text in shown:
        yield seen_by, SignedCheckpoint.decode(text).verify(leader)


def _kept(ledger: ShownLedger) -> bool:
    return bool(ledger.document.get("checkpoint"))


def _name(ledger: ShownLedger) -> str:
    return f"device {str(ledger.document.get('ledger'))[:8]}"


def preconditions(case: AuditCase) -> CheckOutcome:
    """G4: a release rests on whole batches, each at least the minimum, with their sums shown."""
    records = {record.task: record for record in case.records}
    tasks = {task.task.id.hex(): task.task for task in case.signed_tasks}
    for release in case.releases:
        for task_id in release.tasks:
            require(task_id in records, "a release rests on a batch that nobody logged")
            record, task = records[task_id], tasks.get(task_id)
            require(task is not None, "a release rests on a task that was not shown")
            if task is None:
                continue
            require(
                record.count >= max(task.min_batch_size, release.batch_size),
                f"a batch of {record.count} was released, {task.min_batch_size} is the minimum",
            )
            require(
                record.sigma2 == task.sigma2,
                "a half declares another noise than its task",
            )
            _sum(case, record)
    return CheckOutcome(True, f"{len(records)} batches, each whole and large enough")


def _sum(case: AuditCase, record: transcript.BatchRecord) -> None:
    total = case.evidence.sums.get(record.sum)
    if total is None:
        raise NotShown("a batch's sum was not shown")
    found = hashlib.sha256(total.astype("<i8").tobytes()).hexdigest()
    require(found == record.sum, "a sum is not the one that was committed to")


def manifest_first(case: AuditCase) -> CheckOutcome:
    """G5: a task is logged before anything is sent for it, and its batch after that."""
    logged = {entry.sha256: entry for entry in case.log}
    for record in case.records:
        task = logged.get(record.task)
        result = logged.get(hashlib.sha256(record.document).hexdigest())
        require(task is not None, "a batch's task is not in the log")
        if task is not None and result is not None:
            require(task.index < result.index, "a batch was logged before its task")
    for ledger in case.ledgers if case.evidence.documents.ledgers else ():
        for one in ledger.disclosures:
            task = logged.get(str(one.get("task_id")))
            require(task is not None, "a report was sent for a task that nobody logged")
            if task is not None:
                sent = (
                    _whole(one.get("at")) + TIME_PRECISION
                )  # clocks may differ by so much
                require(
                    task.time <= sent, "a task was logged after the first report for it"
                )
    return CheckOutcome(True, "every task was logged first")


def adopted(case: AuditCase) -> CheckOutcome:
    """G6: every model in use on a device is a logged, signed release, and the newest it saw."""
    keys, logged = case.keys.decoded(), {entry.sha256 for entry in case.log}
    count = 0
    for ledger in case.ledgers:
        text = ledger.document.get("adopted")
        if text is None:
            continue
        signed = SignedRelease.decode(str(text).encode())
        verify_both(
            RELEASE_SIGNED_AS + signed.release.document, signed.signatures, *keys
        )
        digest = hashlib.sha256(signed.release.document).hexdigest()
        require(digest in logged, "a device uses a model that nobody logged")
        require(
            signed.release.version >= _whole(ledger.document.get("newest")),
            f"a device uses version {signed.release.version} after it had seen a newer one",
        )
        count += 1
    return CheckOutcome(True, f"{count} devices use logged models")


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise ProtocolError("ledger: a time or version is no whole number")
    return value


_PROVED = EvidenceClass.PROVED
CHECKS = (
    Check(
        id="G1",
        claim="everything published is in the log, and signed by both",
        ground=_PROVED,
        run=included,
        hazards=(22, 23),
    ),
    Check(
        id="G2",
        claim="the log only grew",
        ground=_PROVED,
        run=consistent,
        hazards=(22,),
    ),
    Check(
        id="G3",
        claim="everybody saw the same log",
        ground=_PROVED,
        run=one_view,
        hazards=(22,),
    ),
    Check(
        id="G4",
        claim="releases rest on large, whole batches",
        ground=_PROVED,
        run=preconditions,
    ),
    Check(
        id="G5",
        claim="tasks are logged before reports",
        ground=_PROVED,
        run=manifest_first,
    ),
    Check(
        id="G6",
        claim="devices use only logged, newest models",
        ground=_PROVED,
        run=adopted,
        hazards=(22, 23),
    ),
)
