"""Checks G: the publication log is complete, append-only, and one for all readers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    EvidenceMissing,
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

LoggedDocument = tuple[transcript.Kind, str]  # (kind of document, its SHA-256)


def check_log_is_complete(case: AuditCase) -> CheckOutcome:
    """G1: every task, release and batch record is logged; both aggregators signed them.

    The log must have no other documents: a training that is not in the evidence costs
    privacy as well, so the check stays open.
    """
    keys = case.keys.decoded()
    logged = {(entry.kind, entry.sha256) for entry in case.log}
    for signed_task in case.signed_tasks:
        document = signed_task.task.document
        verify_both(TASK_SIGNED_AS + document, signed_task.signatures, *keys)
        _require_logged(logged, "task", document)
    for signed_release in case.signed_releases:
        document = signed_release.release.document
        verify_both(RELEASE_SIGNED_AS + document, signed_release.signatures, *keys)
        _require_logged(logged, "release", document)
    for record in case.records:
        _require_logged(logged, "result", record.document)
    unexplained = logged - _evidence_documents(case)
    if unexplained:
        kinds = ", ".join(sorted({kind for kind, _ in unexplained}))
        return CheckOutcome(
            None,
            f"log: {len(unexplained)} logged documents ({kinds}) are not in the "
            "evidence; ask the operator for them",
        )
    return CheckOutcome(
        True,
        f"{len(case.log)} entries, including all {len(case.signed_releases)} releases",
    )


def _require_logged(
    logged: set[LoggedDocument], kind: transcript.Kind, document: bytes
) -> None:
    require(
        _logged_document(kind, document) in logged,
        f"log: a published {kind} is missing",
    )


def _logged_document(kind: transcript.Kind, document: bytes) -> LoggedDocument:
    return kind, hashlib.sha256(document).hexdigest()


def _evidence_documents(case: AuditCase) -> set[LoggedDocument]:
    """Return the documents of the evidence; any other could be of the claimed model."""
    documents: set[LoggedDocument] = set()
    for signed_task in case.signed_tasks:
        documents.add(_logged_document("task", signed_task.task.document))
    for signed_release in case.signed_releases:
        documents.add(_logged_document("release", signed_release.release.document))
    for record in case.records:
        documents.add(_logged_document("result", record.document))
    return documents


def check_log_is_append_only(case: AuditCase) -> CheckOutcome:
    """G2: the entries are in order, and the log extends every signed checkpoint."""
    head = transcript.checkpoint(case.log)
    checkpoints = [checkpoint for _, checkpoint in _checkpoints(case)]
    newest = max(checkpoints, key=lambda checkpoint: checkpoint.size)
    require(
        newest.size <= head.size,
        f"log: the newest checkpoint has {newest.size} entries, but the evidence has "
        f"{head.size}; ask the operator for the newest log",
    )
    tree = merkle.MerkleTree(entry.leaf for entry in case.log)
    for checkpoint in checkpoints:
        size, root = checkpoint.size, tree.root(checkpoint.size).hex()
        require(
            root == checkpoint.root,
            f"log: its first {size} entries are not those of the signed checkpoint",
        )
        is_extended = merkle.grew(
            bytes.fromhex(root),
            size,
            bytes.fromhex(head.root),
            head.size,
            tree.consistency(size),
        )
        require(is_extended, f"log: it does not extend its first {size} entries")
    return CheckOutcome(
        True, f"{head.size} entries under {len(checkpoints)} signed checkpoints"
    )


def check_all_readers_saw_one_log(case: AuditCase) -> CheckOutcome:
    """G3: all checkpoints that readers saw are of one log.

    Two signed checkpoints of one size with different roots prove a split view.
    """
    first_by_size: dict[int, tuple[str, str]] = {}
    tree = merkle.MerkleTree(entry.leaf for entry in case.log)
    for reader, checkpoint in _checkpoints(case):
        size = checkpoint.size
        root, first_reader = first_by_size.setdefault(size, (checkpoint.root, reader))
        require(
            root == checkpoint.root,
            f"log: {first_reader} and {reader} saw different logs of {size} entries; "
            "both checkpoints are signed",
        )
        if size <= len(tree):
            require(
                tree.root(size).hex() == checkpoint.root,
                f"log: {reader} saw another log than the one in the evidence",
            )
    return CheckOutcome(True, f"{len(list(_checkpoints(case)))} checkpoints, one log")


def _checkpoints(case: AuditCase) -> Iterator[tuple[str, Checkpoint]]:
    """Yield (reader, verified checkpoint) of the evidence and of the ledgers."""
    leader_key = case.keys.decoded()[0]
    texts = [(head.seen_by, head.checkpoint) for head in case.evidence.documents.heads]
    for ledger in case.available_ledgers:
        if ledger.document.get("checkpoint"):
            reader = f"device {ledger.ledger_id[:8]}"
            texts.append((reader, str(ledger.document["checkpoint"])))
    if not texts:
        raise EvidenceMissing("signed checkpoints of the log")
    for reader, text in texts:
        yield reader, SignedCheckpoint.decode(text).verify(leader_key)


def check_releases_rest_on_full_batches(case: AuditCase) -> CheckOutcome:
    """G4: the batches of a release are complete and large, and their sums are known."""
    records = {record.task: record for record in case.records}
    tasks = {signed.task.id.hex(): signed.task for signed in case.signed_tasks}
    for release in case.releases:
        for task_id in release.tasks:
            require(task_id in records, "release: one of its batches has no record")
            record, task = records[task_id], tasks.get(task_id)
            require(
                task is not None, "release: one of its tasks is not in the evidence"
            )
            if task is None:
                continue
            minimum = max(task.min_batch_size, release.batch_size)
            require(
                record.count >= minimum,
                f"batch record: {record.count} reports are below the minimum of "
                f"{minimum}",
            )
            require(
                record.sigma2 == task.sigma2,
                f"batch record: its sigma2 is {record.sigma2}, but its task has "
                f"{task.sigma2}",
            )
            _require_committed_sum(case, record)
    return CheckOutcome(True, f"{len(records)} batches, complete and large enough")


def _require_committed_sum(case: AuditCase, record: transcript.BatchRecord) -> None:
    batch_sum = case.evidence.sums.get(record.sum)
    if batch_sum is None:
        raise EvidenceMissing("sum of a batch")
    sha256 = hashlib.sha256(batch_sum.astype("<i8").tobytes()).hexdigest()
    require(
        sha256 == record.sum, "sum of a batch: it is not the one that was committed to"
    )


def check_tasks_are_logged_first(case: AuditCase) -> CheckOutcome:
    """G5: a task is logged before its first report and before its batch."""
    logged = {entry.sha256: entry for entry in case.log}
    for record in case.records:
        task = logged.get(record.task)
        result = logged.get(hashlib.sha256(record.document).hexdigest())
        require(task is not None, "batch record: its task is not in the log")
        if task is not None and result is not None:
            require(
                task.index < result.index, "log: a batch was logged before its task"
            )
    for ledger in case.available_ledgers:
        for disclosure in ledger.disclosures:
            task = logged.get(str(disclosure.get("task_id")))
            require(
                task is not None,
                f"ledger {ledger.ledger_id[:8]}: a report was sent to a task that is "
                "not in the log",
            )
            if task is None:
                continue
            # The clocks of device and leader may differ by the precision of times.
            latest_send = _int_field(disclosure.get("at")) + TIME_PRECISION
            require(
                task.time <= latest_send,
                "log: a task was logged after the first report to it",
            )
    return CheckOutcome(True, "every task was logged first")


def check_models_in_use_are_logged(case: AuditCase) -> CheckOutcome:
    """G6: the model of each device is signed, logged, and the newest that it saw."""
    keys = case.keys.decoded()
    logged = {entry.sha256 for entry in case.log}
    count = 0
    for ledger in case.ledgers:
        text = ledger.document.get("adopted")
        if text is None:
            continue
        signed = SignedRelease.decode(str(text).encode())
        document = signed.release.document
        verify_both(RELEASE_SIGNED_AS + document, signed.signatures, *keys)
        require(
            hashlib.sha256(document).hexdigest() in logged,
            f"ledger {ledger.ledger_id[:8]}: its model is not in the log",
        )
        version = signed.release.version
        newest = _int_field(ledger.document.get("newest"))
        require(
            version >= newest,
            f"ledger {ledger.ledger_id[:8]}: it uses model version {version}, but saw "
            f"version {newest} before",
        )
        count += 1
    return CheckOutcome(True, f"{count} devices use logged models")


def _int_field(value: object) -> int:
    if not isinstance(value, int):
        raise ProtocolError("ledger: a time or version is not an integer")
    return value


_PROVED = EvidenceClass.PROVED
CHECKS = (
    Check(
        id="G1",
        claim="every published document is in the log, signed by both aggregators",
        evidence_class=_PROVED,
        run=check_log_is_complete,
        hazards=(22, 23),
    ),
    Check(
        id="G2",
        claim="the log is append-only",
        evidence_class=_PROVED,
        run=check_log_is_append_only,
        hazards=(22,),
    ),
    Check(
        id="G3",
        claim="all readers saw the same log",
        evidence_class=_PROVED,
        run=check_all_readers_saw_one_log,
        hazards=(22,),
    ),
    Check(
        id="G4",
        claim="releases rest on large, complete batches",
        evidence_class=_PROVED,
        run=check_releases_rest_on_full_batches,
    ),
    Check(
        id="G5",
        claim="tasks are logged before reports are sent",
        evidence_class=_PROVED,
        run=check_tasks_are_logged_first,
    ),
    Check(
        id="G6",
        claim="devices use logged models only, and never an older one",
        evidence_class=_PROVED,
        run=check_models_in_use_are_logged,
        hazards=(22, 23),
    ),
)
