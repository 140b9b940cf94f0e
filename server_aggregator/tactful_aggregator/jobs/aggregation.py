"""Reports become sums: both halves find each proof to hold before either counts its report."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.errors import (
    DecodeError,
    OpenError,
    ProofRejected,
    ProtocolError,
    TactfulError,
    TransportError,
    VaultError,
)
from tactful.protocol.dap import hpke
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.job_messages import (
    VerifyInit,
    VerifyResp,
    decode_job,
    decode_job_answer,
    encode_job,
    encode_job_answer,
)
from tactful.protocol.dap.messages import (
    HpkeCiphertext,
    Report,
    ReportMetadata,
    decode_plaintext_share,
    input_share_aad,
)
from tactful.protocol.dap.versions import HELPER, LEADER, ReportError
from tactful.vdaf.field import Elements
from tactful.vdaf.vdaf import Received, VerifyState
from tactful_aggregator import problems
from tactful_aggregator.datastore import (
    COUNTED,
    REFUSED,
    BatchShard,
    Datastore,
    StoreTransaction,
)
from tactful_aggregator.helper_client import HelperRefused, HelperUnready
from tactful_aggregator.keyring import Keyring
from tactful_aggregator.problems import reason_of
from tactful_aggregator.task_registry import ProvisionedTask
from tactful_aggregator.upload.accept import untimely
from tactful_aggregator.upload.report_store import ReportStore

MOST_PER_JOB = 64
EARLY = (
    ReportError.REPORT_TOO_EARLY,
    ReportError.TASK_NOT_STARTED,
)  # taken, if asked later
JOB_BYTES = 32 << 20  # of shares in memory at a time, however many reports wait
LEASE_SECONDS = 120  # longer than a job takes; after it another worker may take the job
MOST_ATTEMPTS = 20  # of a job; with the pauses between them about eight hours
MOST_DELAY_SECONDS = 3600  # between two attempts; it doubles from two seconds
PATIENCE_SECONDS, PAUSE_SECONDS = 300.0, 0.02  # while other workers finish their jobs
ALL = (0, 1 << 62)  # buckets

logger = logging.getLogger(__name__)

Verified = tuple[VerifyState, bytes] | ReportError
"""A report's state and verifier share, or why it is not counted."""


class AggregationHelper(Protocol):
    """The helper, as far as the leader's jobs need it."""

    def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
        """The helper's answer to a job; the same job again has the same answer."""


def _no_beat() -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class PutOff:
    """A job that failed while `token` held it: tried again at `due`, or parked if that is None."""

    job_id: bytes
    token: bytes
    attempts: int
    due: int | None


@dataclass(frozen=True)
class Dependencies:
    """What a half works with; `clock` gives unix seconds, `beat` tells that the work goes on."""

    store: Datastore
    bodies: ReportStore
    keyring: Keyring
    clock: Callable[[], int]
    beat: Callable[[], None] = _no_beat
    late: list[PutOff] = field(
        default_factory=list
    )  # jobs that could not be given back yet


@dataclass(frozen=True)
class Counted:
    """One report that both halves count, and this half's share of it."""

    report_id: bytes
    bucket: int
    share: Elements


# the leader's side


def drive(
    dependencies: Dependencies,
    helper_client: AggregationHelper,
    provisioned: ProvisionedTask,
    buckets: tuple[int, int] = ALL,
) -> None:
    """Settle every report of these buckets that was kept so far; waits for other workers.

    Raises TransportError if some of them are put off, as the helper did not answer as it should.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if work(dependencies, helper_client, provisioned):
            continue
        with dependencies.store.transaction() as tx:
            now = dependencies.clock()
            busy, put_off = tx.reports.count_unsettled(
                provisioned.task.id, *buckets, now
            )
            busy += tx.jobs.count_pending(provisioned.task.id, now)
        if put_off:
            raise TransportError(
                f"helper: it did not take {put_off} reports, which wait; see its log, then "
                "tactful-aggregator jobs resume"
            )
        if not busy:
            return
        if time.monotonic() > deadline:
            raise TransportError(
                "helper: another worker does not finish its job; try again later"
            )
        time.sleep(PAUSE_SECONDS)


def work(
    dependencies: Dependencies,
    helper_client: AggregationHelper,
    provisioned: ProvisionedTask,
) -> bool:
    """Take one job, an old one or a new one, and settle it; False if there is none to take."""
    dependencies.beat()
    _give_back(dependencies)
    token, now, task_id = (
        secrets.token_bytes(16),
        dependencies.clock(),
        provisioned.task.id,
    )
    with dependencies.store.transaction() as tx:
        leased = tx.jobs.lease(task_id, token, now, now + LEASE_SECONDS)
        if leased is None and _begin(tx, provisioned):
            leased = tx.jobs.lease(task_id, token, now, now + LEASE_SECONDS)
    if leased is None:
        return False
    job_id, attempts = leased
    try:
        _settle(dependencies, helper_client, provisioned, job_id, token)
    except Exception as failed:
        _put_off(dependencies, job_id, token, attempts, failed)
        raise
    return True


def most_per_job(task: DapTask) -> int:
    """How many reports one job settles: fewer if they are long, so that memory stays flat."""
    _, leader_share, _ = task.vdaf.sizes
    return max(1, min(MOST_PER_JOB, JOB_BYTES // (4 * leader_share)))


def _begin(tx: StoreTransaction, provisioned: ProvisionedTask) -> bool:
    """Put waiting reports into a new job; False if none waits."""
    task, job_id = provisioned.task, secrets.token_bytes(16)
    if not tx.reports.assign_to_job(task.id, job_id, most_per_job(task)):
        return False
    tx.jobs.add(job_id, task.id)
    return True


def _put_off(
    dependencies: Dependencies,
    job_id: bytes,
    token: bytes,
    attempts: int,
    failed: Exception,
) -> None:
    """Let the job be tried again later; park it, never drop it, once that does not help.

    Where nobody answered, or this half's own disk failed, the job is free at once.
    """
    answered = isinstance(failed, HelperUnready)
    counts = answered or not isinstance(failed, (TransportError, VaultError, OSError))
    attempts += counts
    is_parked = isinstance(failed, HelperRefused) or attempts >= MOST_ATTEMPTS
    due = dependencies.clock() + _delay(attempts) if counts else 0
    dependencies.late.append(
        PutOff(job_id, token, attempts, None if is_parked else due)
    )
    with suppress(
        TactfulError
    ):  # a database that is away now is asked again before the next job
        _give_back(dependencies)
    if counts:
        then = (
            "it is parked: tactful-aggregator jobs resume"
            if is_parked
            else f"again at {due}"
        )
        logger.warning("job %s failed: %s; %s", job_id.hex(), reason_of(failed), then)


def _give_back(dependencies: Dependencies) -> None:
    """Give back every job that failed, unless its lease ended and another worker took it."""
    for one in tuple(dependencies.late):
        with dependencies.store.transaction() as tx:
            if tx.jobs.is_leased_to(one.job_id, one.token):
                if one.due is None:
                    tx.jobs.park(one.job_id, one.attempts)
                else:
                    tx.jobs.reschedule(one.job_id, one.attempts, one.due)
        with suppress(ValueError):  # another thread may have given it back meanwhile
            dependencies.late.remove(one)


def _delay(attempts: int) -> int:
    """How many seconds to wait after so many attempts; at random, so that not all come at once."""
    longest = min(1 << attempts, MOST_DELAY_SECONDS)
    return longest - secrets.randbelow(longest // 2 + 1)


def _settle(
    dependencies: Dependencies,
    helper_client: AggregationHelper,
    provisioned: ProvisionedTask,
    job_id: bytes,
    token: bytes,
) -> None:
    """Ask the helper, then count what it took: until the last commit all of it can be repeated."""
    task = provisioned.task
    with dependencies.store.transaction() as tx:
        rows = tx.reports.of_job(job_id)
    reports = [
        Report.decode(dependencies.bodies.get(body), task.dap) for _, body in rows
    ]
    verified = _verified(
        dependencies, provisioned, LEADER, [_leader_part(report) for report in reports]
    )
    offered = [
        (report, bucket, *one)
        for report, (bucket, _), one in zip(reports, rows, verified, strict=True)
        if not isinstance(one, ReportError)
    ]
    answers = _asked(
        helper_client,
        task,
        job_id,
        [(report, share) for report, _, _, share in offered],
    )
    counted = [
        Counted(report.metadata.report_id, bucket, share)
        for (report, bucket, state, _), answer in zip(offered, answers, strict=True)
        if (share := _finished(task, state, answer.outcome)) is not None
    ]
    taken = {one.report_id for one in counted}
    early = {one.report_id for one in answers if one.outcome in EARLY}
    refused = {report.metadata.report_id for report in reports} - taken - early
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=False)
        if tx.jobs.is_leased_to(job_id, token):
            count(tx, provisioned, counted)
            tx.reports.settle(task.id, taken, COUNTED)
            tx.reports.settle(task.id, refused, REFUSED)
            tx.reports.return_to_waiting(task.id, early)
            tx.jobs.finish(job_id)
    if early:
        raise TransportError(
            "helper: its clock is behind; set the clocks of both halves right"
        )


def _asked(
    helper_client: AggregationHelper,
    task: DapTask,
    job_id: bytes,
    offered: Sequence[tuple[Report, bytes]],
) -> list[VerifyResp]:
    if not offered:
        return []
    entries = [
        VerifyInit(one.metadata, one.public_share, one.helper, v) for one, v in offered
    ]
    response = helper_client.aggregate(task, job_id, encode_job(task, entries))
    answers = decode_job_answer(response, task.dap)
    if [one.report_id for one in answers] != [
        one.metadata.report_id for one in entries
    ]:
        raise ProtocolError(
            "helper: it answered for other reports than it was asked about"
        )
    return answers


def _finished(
    task: DapTask, state: VerifyState, outcome: bytes | ReportError
) -> Elements | None:
    if isinstance(outcome, ReportError):
        return None
    try:
        return task.vdaf.verify_next(state, outcome)
    except ProofRejected:
        return None


# the helper's side


def answer(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    job_id: bytes,
    request: bytes,
) -> bytes:
    """Count the reports of a job whose proofs hold; the same job again gets the same answer.

    Raises ProtocolError if the job's id was used for another request, or a report stands twice.
    """
    digest, task = hashlib.sha256(request).digest(), provisioned.task
    with dependencies.store.transaction() as tx:
        known = tx.jobs.response(job_id)
    if known is None:
        entries = decode_job(task, request)
        _distinct(entries)
        outcomes = _helper_outcomes(dependencies, provisioned, entries)
        if entries and all(outcome in EARLY for outcome in outcomes):
            return _refusals(
                task, entries, outcomes
            )  # asked again later, it may be another answer
        with dependencies.store.transaction() as tx:
            tx.tasks.lock(task.id, exclusive=False)
            # before any report is noted: of two requests for one job the later must not find
            # the earlier one's reports, and take them for replays
            begun = tx.jobs.begin_response(job_id, task.id, digest)
            known = None if begun else tx.jobs.response(job_id)
            if known is None:
                known = digest, _counted(tx, provisioned, entries, outcomes)
                tx.jobs.store_response(job_id, known[1])
    if known[0] != digest:
        raise problems.invalid("this job was another one before")
    return known[1]


Outcome = tuple[Elements, bytes] | ReportError
"""The helper's share of a report and the message that ends its proof, or why it is refused."""


def _refusals(
    task: DapTask, entries: Sequence[VerifyInit], outcomes: Sequence[Outcome]
) -> bytes:
    answers = [
        VerifyResp(one.metadata.report_id, outcome)
        for one, outcome in zip(entries, outcomes, strict=True)
        if isinstance(outcome, ReportError)
    ]
    return encode_job_answer(answers, task.dap)


def _helper_outcomes(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    entries: Sequence[VerifyInit],
) -> list[Outcome]:
    task, now = provisioned.task, dependencies.clock()
    late = [
        untimely(task, one.metadata.time, min(now, task.expires - 1)) for one in entries
    ]
    timely = [one for one, reason in zip(entries, late, strict=True) if reason is None]
    parts = [(one.metadata, one.public_share, one.helper) for one in timely]
    verified = iter(_verified(dependencies, provisioned, HELPER, parts))
    return [
        reason if reason is not None else _ended(task, entry, next(verified))
        for entry, reason in zip(entries, late, strict=True)
    ]


def _ended(task: DapTask, entry: VerifyInit, verified: Verified) -> Outcome:
    """Both verifier shares together.

    The leader compares what the client stated of the helper's randomness. If the helper did not do
    so too, a client could have a report counted here that the leader then refuses.
    """
    if isinstance(verified, ReportError):
        return verified
    state, share = verified
    try:
        message = task.vdaf.verifier_message(
            [entry.verifier_share, share], task.context
        )
        output = task.vdaf.verify_next(state, message)
    except (ProofRejected, DecodeError):
        return ReportError.VDAF_VERIFY_ERROR
    return (output, message) if state.bound else ReportError.VDAF_VERIFY_ERROR


def _counted(
    tx: StoreTransaction,
    provisioned: ProvisionedTask,
    entries: Sequence[VerifyInit],
    outcomes: Sequence[Outcome],
) -> bytes:
    task, counted, answers = provisioned.task, [], []
    closed = [
        (first, last) for first, last, _ in tx.batches.overlapping(task.id, 0, 1 << 62)
    ]
    for entry, outcome in zip(entries, outcomes, strict=True):
        report_id, bucket = (
            entry.metadata.report_id,
            provisioned.bucket(entry.metadata.time),
        )
        if not isinstance(outcome, ReportError):
            outcome = _unfit(tx, task, report_id, bucket, closed) or outcome
        if not isinstance(outcome, ReportError):
            counted.append(Counted(report_id, bucket, outcome[0]))
        shown = outcome if isinstance(outcome, ReportError) else outcome[1]
        answers.append(VerifyResp(report_id, shown))
    count(tx, provisioned, counted)
    return encode_job_answer(answers, task.dap)


def _unfit(
    tx: StoreTransaction,
    task: DapTask,
    report_id: bytes,
    bucket: int,
    closed: Sequence[tuple[int, int]],
) -> ReportError | None:
    if any(first <= bucket < last for first, last in closed):
        return ReportError.BATCH_COLLECTED
    is_new = tx.reports.add_id(task.id, report_id, bucket)
    return None if is_new else ReportError.REPORT_REPLAYED


def _distinct(entries: Sequence[VerifyInit]) -> None:
    if len({entry.metadata.report_id for entry in entries}) < len(entries):
        raise problems.invalid("a report stands twice in one job")


# both


def count(
    tx: StoreTransaction, provisioned: ProvisionedTask, counted: Sequence[Counted]
) -> None:
    """Add reports to the task's sums, in the transaction that settles them."""
    task, field = provisioned.task, provisioned.task.vdaf.field
    length = task.vdaf.output_length
    by_bucket: dict[int, list[Counted]] = defaultdict(list)
    for one in counted:
        by_bucket[one.bucket].append(one)
    for bucket, some in sorted(by_bucket.items()):
        shard, kept = tx.sums.lock_shard(
            task.id, bucket, BatchShard(bucket, 0, bytes(32), b"")
        )
        total = field.decode(kept.total, length) if kept.count else field.zeros(length)
        checksum = int.from_bytes(kept.checksum, "big")
        for one in some:
            total = field.add(total, one.share)
            checksum ^= int.from_bytes(hashlib.sha256(one.report_id).digest(), "big")
        added = BatchShard(
            bucket,
            kept.count + len(some),
            checksum.to_bytes(32, "big"),
            field.encode(total),
        )
        tx.sums.replace_shard(task.id, shard, added)


Sealed = tuple[ReportMetadata, bytes, HpkeCiphertext]
"""A report as one half opens it: metadata, public share, its own ciphertext."""


def _leader_part(report: Report) -> Sealed:
    return report.metadata, report.public_share, report.leader


def _verified(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    role: int,
    parts: Sequence[Sealed],
) -> list[Verified]:
    """Each report opened and its proof queried; what is wrong with one is its own matter."""
    task = provisioned.task
    openers = dependencies.keyring.current().openers
    opened = [_opened(openers, task, role, *part) for part in parts]
    received = [one for one in opened if isinstance(one, Received)]
    agg = 0 if role == LEADER else 1
    prepared = iter(
        task.vdaf.verify_init(provisioned.verify_key, agg, received, task.context)
    )
    verified: list[Verified] = []
    for one in opened:
        found = next(prepared) if isinstance(one, Received) else one
        if isinstance(found, DecodeError):
            found = ReportError.INVALID_MESSAGE
        elif isinstance(found, ProofRejected):
            found = ReportError.VDAF_VERIFY_ERROR
        verified.append(found)
    return verified


def _opened(
    openers: Mapping[int, X25519PrivateKey],
    task: DapTask,
    role: int,
    metadata: ReportMetadata,
    public_share: bytes,
    sealed: HpkeCiphertext,
) -> Received | ReportError:
    opener = openers.get(sealed.config_id)
    if opener is None:
        return ReportError.HPKE_UNKNOWN_CONFIG_ID
    info = task.dap.input_share_info(role)
    aad = input_share_aad(task, metadata, public_share)
    try:
        plaintext = hpke.open_(opener, sealed.enc, info, aad, sealed.payload)
        share = decode_plaintext_share(plaintext)
    except OpenError:
        return ReportError.HPKE_DECRYPT_ERROR
    except DecodeError:
        return ReportError.INVALID_MESSAGE
    return Received(metadata.report_id, public_share, share)
