"""E: what leaves a device: every byte named, always as many, and none of them of its history."""

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
    NotShown,
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
ALPHA = 1e-5  # of the bytes' chi-square
LEAST_BYTES = 4096
INCOMPRESSIBLE = 0.98


def closed_world(case: AuditCase) -> CheckOutcome:
    """E1: every byte of every request is one that the public schema names."""
    known = {task.encoded_id for task in _tasks(case)}
    total = 0
    for upload, reports in _read(case):
        dap = _version(upload)
        extra = {name.lower() for name in upload.headers} - HEADERS
        require(not extra, f"headers beside the schema: {sorted(extra)}")
        require(
            upload.headers.get("Content-Type")
            == dap.media_type("report", "upload-req"),
            "the content type says something else",
        )
        parts = urlsplit(upload.url)
        require(not parts.query and not parts.fragment, "the address carries a query")
        steps = parts.path.split("/")
        named = len(steps) == 4 and (steps[1], steps[3]) == ("tasks", "reports")
        require(
            named and (not known or steps[2] in known),
            f"{parts.path} is no upload's address",
        )
        if upload.task:
            task = Task.parse(upload.task.encode())
            due = f"{task.leader}/tasks/{task.encoded_id}/reports"
            require(
                upload.url == due, f"{upload.url} is not where its task sends reports"
            )
        body = b"".join(report.encode(dap) for report in reports)
        require(body == _body(upload), "bytes that the schema does not name")
        require(len(reports) == 1, "one request carries several reports")
        total += len(body)
    return CheckOutcome(True, f"{total:,} bytes, each a field of the schema")


def constant_size(case: AuditCase) -> CheckOutcome:
    """E2: for one task the length is the same whatever the history."""
    lengths: dict[str, set[int]] = {}
    histories: dict[str, set[str]] = {}
    for upload, _ in _read(case):
        lengths.setdefault(upload.url, set()).add(len(_body(upload)))
        histories.setdefault(upload.url, set()).add(upload.history)
    for url, found in lengths.items():
        require(
            len(found) == 1, f"{url}: {sorted(found)} bytes for different histories"
        )
    most = max(len(names) for names in histories.values())
    if most < 2:
        return CheckOutcome(None, "only one history was sent")
    return CheckOutcome(True, f"{most} histories, one length for each task")


def uniform(case: AuditCase) -> CheckOutcome:
    """E3: a sealed share, and one opened share alone, looks like nothing but random bytes."""
    sealed = b"".join(
        part
        for _, reports in _read(case)
        for r in reports
        for part in (r.public_share, r.leader.payload, r.helper.payload)
    )
    opened = b"".join(_decoded(share) for one, _ in _read(case) for share in one.shares)
    told = []
    for name, content in (("sealed", sealed), ("opened", opened)):
        if not content:
            continue
        if len(content) < LEAST_BYTES:
            return CheckOutcome(None, f"only {len(content)} {name} bytes")
        counts = np.bincount(np.frombuffer(content, dtype=np.uint8), minlength=256)
        expected = len(content) / 256
        p = chi2_upper(float((np.square(counts - expected) / expected).sum()), 255)
        ratio = len(zlib.compress(content, 9)) / len(content)
        require(p > ALPHA, f"{name} shares are not uniform (p {p:.1e})")
        require(ratio > INCOMPRESSIBLE, f"{name} shares shrink to {ratio:.2f}")
        told.append(f"{name}: p {p:.2g}, compressed to {ratio:.3f}")
    return CheckOutcome(True, "; ".join(told))


def no_path_from_events(case: AuditCase) -> CheckOutcome:
    """E4: another history changes share bytes only, and the vector no more than declared.

    The opened shares hold that vector, and prove its bound.
    """
    tasks = {task.encoded_id: task for task in _tasks(case)}
    compared = 0
    for (one, first), (other, second) in combinations(list(_read(case)), 2):
        if one.url != other.url or one.history == other.history:
            continue
        for a, b in zip(first, second, strict=True):
            same = (
                a.metadata.time,
                len(a.public_share),
                a.leader.config_id,
                a.helper.config_id,
            )
            other_same = (
                b.metadata.time,
                len(b.public_share),
                b.leader.config_id,
                b.helper.config_id,
            )
            require(
                same == other_same,
                f"{one.history}, {other.history}: more than shares differ",
            )
        task = tasks.get(urlsplit(one.url).path.split("/")[2])
        if task is not None and one.measurement and other.measurement:
            _within(one, other, task)
            compared += 1
    for upload, reports in _read(case):
        task = tasks.get(urlsplit(upload.url).path.split("/")[2])
        if task is not None and upload.shares and upload.measurement:
            _opens_to(upload, reports[0], task)
    if not compared:
        raise NotShown("no two opened reports of different histories were shown")
    return CheckOutcome(True, f"{compared} pairs of histories within 4 Delta2")


def _within(one: Upload, other: Upload, task: Task) -> None:
    gap = np.array(one.measurement, dtype=np.int64) - np.array(
        other.measurement, dtype=np.int64
    )
    distance = int(np.dot(gap, gap))
    limit = 4 * task.release.norm_bound
    require(
        distance <= limit,
        f"{one.history}, {other.history}: distance^2 {distance} > {limit}",
    )


def _opens_to(upload: Upload, report: Report, task: Task) -> None:
    """Refute shares that do not sum to what is said to be in them, or whose proof fails."""
    vdaf, context = task.dap.vdaf, task.dap.context
    key = bytes(vdaf.verify_key_bytes)  # any: whoever made the report did not know it
    received = [
        Received(report.metadata.report_id, report.public_share, _decoded(share))
        for share in upload.shares
    ]
    require(len(received) == 2, f"{upload.history}: {len(received)} shares were opened")
    states, verifiers = [], []
    for agg, one in enumerate(received):
        prepared = vdaf.verify_init(key, agg, [one], context)[0]
        if isinstance(prepared, ProofRejected | DecodeError):
            raise prepared
        states.append(prepared[0])
        verifiers.append(prepared[1])
    message = vdaf.verifier_message(verifiers, context)
    first, second = (vdaf.verify_next(state, message) for state in states)
    found = FIELD64.to_integers(FIELD64.add(first, second))
    said = np.array(upload.measurement, dtype=np.int64) - task.levels // 2 + task.zero
    same = task.where.on_device or (
        found.shape == said.shape and bool((found == said).all())
    )
    require(
        same, f"{upload.history}: the shares sum to another vector"
    )  # noise is added to ours


def metadata(case: AuditCase) -> CheckOutcome:
    """E5: what the schema cannot hide, as a list."""
    return CheckOutcome(
        True,
        "the leader sees address and time of an upload, unless it is proxied; TLS "
        "shows its size; a report shows that a device takes part, and in which hour",
    )


def _read(case: AuditCase) -> Iterator[tuple[Upload, list[Report]]]:
    if not case.evidence.documents.uploads:
        raise NotShown("no upload was captured")
    for upload in case.evidence.documents.uploads:
        yield upload, decode_upload(_body(upload), _version(upload))


def _version(upload: Upload) -> DapVersion:
    """The version of DAP that the upload's task names; the newest if none was shown."""
    return Task.parse(upload.task.encode()).dap.dap if upload.task else DAP_18


def _tasks(case: AuditCase) -> list[Task]:
    """The tasks that uploads were made for."""
    shown = {one.task for one in case.evidence.documents.uploads if one.task}
    return [Task.parse(text.encode()) for text in shown] + [
        one.task for one in case.signed_tasks
    ]


def _body(upload: Upload) -> bytes:
    return _decoded(upload.body)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as wrong:
        raise InvalidInput("uploads", "not base64", "capture it again") from wrong


CHECKS = (
    Check(
        id="E1",
        claim="every byte that leaves is one the public schema names",
        ground=EvidenceClass.PROVED,
        run=closed_world,
        hazards=(8, 18),
    ),
    Check(
        id="E2",
        claim="a report's length does not follow the history",
        ground=EvidenceClass.PROVED,
        run=constant_size,
        hazards=(21,),
    ),
    Check(
        id="E3",
        claim="one share alone looks like random bytes",
        ground=EvidenceClass.NOT_REFUTED,
        run=uniform,
    ),
    Check(
        id="E4",
        claim="no byte but a share's follows the events",
        ground=EvidenceClass.NOT_REFUTED,
        run=no_path_from_events,
        hazards=(18, 24),
    ),
    Check(
        id="E5",
        claim="what metadata shows is listed",
        ground=EvidenceClass.ASSUMED,
        run=metadata,
    ),
)
