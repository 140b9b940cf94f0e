"""Checks E: all bytes that leave a device are specified; only shares depend on events.

The evidence has uploads of devices with different histories of events.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator
from itertools import combinations
from urllib.parse import urlsplit

import numpy as np

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    EvidenceMissing,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.audit.statistics.distributions import chi2_upper
from tactful.errors import DecodeError, InvalidInput, ProofRejected
from tactful.protocol.dap.messages import Report, decode_upload
from tactful.protocol.dap.versions import DAP_18, DapVersion
from tactful.protocol.documents.evidence import Upload
from tactful.protocol.documents.task import Task
from tactful.vdaf.field64 import FIELD64
from tactful.vdaf.vdaf import Received

HEADERS = {"content-type"}
# The false-alarm rate of the chi-square test of bytes.
ALPHA = 1e-5
LEAST_BYTES = 4096
# Random bytes do not compress below this ratio.
LEAST_RATIO = 0.98


def check_request_bytes(case: AuditCase) -> CheckOutcome:
    """E1: every byte of every request is a field of the public schema."""
    task_ids = {task.encoded_id for task in _tasks(case)}
    byte_count = 0
    for upload, reports in _uploads(case):
        dap = _dap_version(upload)
        extra_headers = {name.lower() for name in upload.headers} - HEADERS
        require(
            not extra_headers,
            f"headers: {sorted(extra_headers)} are not in the schema",
        )
        require(
            upload.headers.get("Content-Type")
            == dap.media_type("report", "upload-req"),
            "headers: Content-Type is not that of an upload",
        )
        _require_upload_address(upload, task_ids)
        body = b"".join(report.encode(dap) for report in reports)
        require(
            body == _body(upload), "body: it has bytes that the schema does not name"
        )
        require(len(reports) == 1, "body: it has several reports; one is expected")
        byte_count += len(body)
    return CheckOutcome(True, f"{byte_count:,} bytes, each a field of the schema")


def _require_upload_address(upload: Upload, task_ids: set[str]) -> None:
    parts = urlsplit(upload.url)
    require(
        not parts.query and not parts.fragment, "address: it has a query or a fragment"
    )
    steps = parts.path.split("/")
    is_upload = len(steps) == 4 and (steps[1], steps[3]) == ("tasks", "reports")
    require(
        is_upload and (not task_ids or steps[2] in task_ids),
        f"address: {parts.path} is not the upload address of a task",
    )
    if upload.task:
        task = Task.parse(upload.task.encode())
        expected = f"{task.leader}/tasks/{task.encoded_id}/reports"
        require(
            upload.url == expected,
            f"address: it is {upload.url}, but the task names {expected}",
        )


def check_report_length(case: AuditCase) -> CheckOutcome:
    """E2: all reports to one task have the same length, whatever the history."""
    lengths: dict[str, set[int]] = {}
    histories: dict[str, set[str]] = {}
    for upload, _ in _uploads(case):
        lengths.setdefault(upload.url, set()).add(len(_body(upload)))
        histories.setdefault(upload.url, set()).add(upload.history)
    for url, url_lengths in lengths.items():
        require(
            len(url_lengths) == 1,
            f"{url}: its reports have different lengths: {sorted(url_lengths)} bytes",
        )
    most = max(len(names) for names in histories.values())
    if most < 2:
        return CheckOutcome(
            None, "uploads: there is one history only; ask the operator for two or more"
        )
    return CheckOutcome(True, f"{most} histories, one length for each task")


def check_shares_look_random(case: AuditCase) -> CheckOutcome:
    """E3: sealed shares, and single opened shares, cannot be told from random bytes."""
    sealed_parts, opened_parts = [], []
    for upload, reports in _uploads(case):
        for report in reports:
            sealed_parts.append(report.public_share)
            sealed_parts.append(report.leader.payload)
            sealed_parts.append(report.helper.payload)
        for share in upload.shares:
            opened_parts.append(_base64(share))
    results = []
    for name, parts in (("sealed", sealed_parts), ("opened", opened_parts)):
        content = b"".join(parts)
        if not content:
            continue
        if len(content) < LEAST_BYTES:
            return CheckOutcome(
                None,
                f"uploads: {len(content)} {name} bytes are too few; use {LEAST_BYTES} "
                "or more",
            )
        p = _uniform_p(content)
        ratio = len(zlib.compress(content, 9)) / len(content)
        require(p > ALPHA, f"{name} shares: their bytes are not uniform (p {p:.1e})")
        require(ratio > LEAST_RATIO, f"{name} shares: they compress to {ratio:.2f}")
        results.append(f"{name}: p {p:.2g}, compressed to {ratio:.3f}")
    return CheckOutcome(True, "; ".join(results))


def _uniform_p(content: bytes) -> float:
    """Return the chi-square p-value that all byte values are equally likely."""
    counts = np.bincount(np.frombuffer(content, dtype=np.uint8), minlength=256)
    expected = len(content) / 256
    return chi2_upper(float((np.square(counts - expected) / expected).sum()), 255)


def check_only_shares_depend_on_history(case: AuditCase) -> CheckOutcome:
    """E4: two histories change the shares only, and the vector no more than declared.

    The opened shares must contain the declared vector, and their proof must hold.
    """
    tasks = {task.encoded_id: task for task in _tasks(case)}
    compared = 0
    for (first, first_reports), (second, second_reports) in combinations(
        list(_uploads(case)), 2
    ):
        if first.url != second.url or first.history == second.history:
            continue
        for first_report, second_report in zip(
            first_reports, second_reports, strict=True
        ):
            require(
                _visible_fields(first_report) == _visible_fields(second_report),
                f"histories {first.history}, {second.history}: more than the shares "
                "differs",
            )
        task = tasks.get(_task_id(first))
        if task is not None and first.measurement and second.measurement:
            _require_bounded_distance(first, second, task)
            compared += 1
    for upload, reports in _uploads(case):
        task = tasks.get(_task_id(upload))
        if task is not None and upload.shares and upload.measurement:
            _require_shares_of_measurement(upload, reports[0], task)
    if not compared:
        raise EvidenceMissing("two opened reports of different histories")
    return CheckOutcome(
        True, f"{compared} pairs of histories within a squared distance of 4 Delta2"
    )


def _task_id(upload: Upload) -> str:
    return urlsplit(upload.url).path.split("/")[2]


def _visible_fields(report: Report) -> tuple[int, int, int, int]:
    """Return the fields that are not shares, and the length of the public share."""
    return (
        report.metadata.time,
        len(report.public_share),
        report.leader.config_id,
        report.helper.config_id,
    )


def _require_bounded_distance(first: Upload, second: Upload, task: Task) -> None:
    """Require a squared distance of at most 4 Delta2: each norm is at most Delta."""
    first_vector = np.array(first.measurement, dtype=np.int64)
    difference = first_vector - np.array(second.measurement, dtype=np.int64)
    distance2 = int(np.dot(difference, difference))
    limit = 4 * task.release.norm_bound
    require(
        distance2 <= limit,
        f"histories {first.history}, {second.history}: their squared distance is "
        f"{distance2}, above {limit}",
    )


def _require_shares_of_measurement(upload: Upload, report: Report, task: Task) -> None:
    """Require that the opened shares prove, and sum to, the declared measurement."""
    vdaf, context = task.dap.vdaf, task.dap.context
    # Any key is valid here: whoever made the report did not know it.
    key = bytes(vdaf.verify_key_bytes)
    received = [
        Received(report.metadata.report_id, report.public_share, _base64(share))
        for share in upload.shares
    ]
    require(
        len(received) == 2,
        f"history {upload.history}: it has {len(received)} opened shares, not 2",
    )
    states, verifiers = [], []
    for aggregator_id, share in enumerate(received):
        prepared = vdaf.verify_init(key, aggregator_id, [share], context)[0]
        if isinstance(prepared, ProofRejected | DecodeError):
            raise prepared
        states.append(prepared[0])
        verifiers.append(prepared[1])
    message = vdaf.verifier_message(verifiers, context)
    first, second = (vdaf.verify_next(state, message) for state in states)
    opened = FIELD64.to_integers(FIELD64.add(first, second))
    measurement = np.array(upload.measurement, dtype=np.int64)
    declared = measurement - task.levels // 2 + task.zero
    # With noise on the device, the shares sum to a noisy vector, so it is not compared.
    if task.where.on_device:
        return
    require(
        opened.shape == declared.shape and bool((opened == declared).all()),
        f"history {upload.history}: the shares sum to another vector than declared",
    )


def list_visible_metadata(case: AuditCase) -> CheckOutcome:
    """E5: the metadata that the schema cannot hide."""
    return CheckOutcome(
        True,
        "the leader sees the address and the time of an upload, unless a proxy is "
        "used; TLS shows its size; a report shows that a device takes part, and in "
        "which hour",
    )


def _uploads(case: AuditCase) -> Iterator[tuple[Upload, list[Report]]]:
    """Yield each upload with its decoded reports."""
    if not case.evidence.documents.uploads:
        raise EvidenceMissing("captured uploads")
    for upload in case.evidence.documents.uploads:
        yield upload, decode_upload(_body(upload), _dap_version(upload))


def _dap_version(upload: Upload) -> DapVersion:
    """Return the DAP version of the upload's task; the newest one without a task."""
    return Task.parse(upload.task.encode()).dap.dap if upload.task else DAP_18


def _tasks(case: AuditCase) -> list[Task]:
    """Return the tasks of the uploads, and all signed tasks."""
    texts = {upload.task for upload in case.evidence.documents.uploads if upload.task}
    upload_tasks = [Task.parse(text.encode()) for text in texts]
    return upload_tasks + [signed.task for signed in case.signed_tasks]


def _body(upload: Upload) -> bytes:
    return _base64(upload.body)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as wrong:
        raise InvalidInput(
            "uploads", "a body or share is not base64", "capture the upload again"
        ) from wrong


CHECKS = (
    Check(
        id="E1",
        claim="every byte that leaves a device is a field of the public schema",
        evidence_class=EvidenceClass.PROVED,
        run=check_request_bytes,
        hazards=(8, 18),
    ),
    Check(
        id="E2",
        claim="the length of a report does not depend on the history",
        evidence_class=EvidenceClass.PROVED,
        run=check_report_length,
        hazards=(21,),
    ),
    Check(
        id="E3",
        claim="a single share cannot be told from random bytes",
        evidence_class=EvidenceClass.NOT_REFUTED,
        run=check_shares_look_random,
    ),
    Check(
        id="E4",
        claim="only the bytes of shares depend on events",
        evidence_class=EvidenceClass.NOT_REFUTED,
        run=check_only_shares_depend_on_history,
        hazards=(18, 24),
    ),
    Check(
        id="E5",
        claim="the metadata that stays visible is listed",
        evidence_class=EvidenceClass.ASSUMED,
        run=list_visible_metadata,
    ),
)
