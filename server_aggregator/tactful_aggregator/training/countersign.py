"""Checks that an aggregator makes before it signs a task or a release.

No setting or argument skips them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from tactful.errors import InvalidInput, TaskRejected
from tactful.privacy.accountant import claim
from tactful.protocol.documents.model_release import SIGNED_AS as RELEASE_SIGNED_AS
from tactful.protocol.documents.model_release import ModelRelease, SignedRelease
from tactful.protocol.documents.noise_check import require_kept
from tactful.protocol.documents.task import SIGNED_AS as TASK_SIGNED_AS
from tactful.protocol.documents.task import SignedTask, Task
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.datastore import Datastore, StoreTransaction
from tactful_aggregator.settings import Aggregator

MAX_REPORTS = 1 << 32
# A sum must fit the field with this many standard deviations of noise.
NOISE_DEVIATIONS = 12
# Properties of a release that must equal those of all its tasks.
COMMON_FIELDS = ("catalog", "items", "adjacency", "unit", "delta", "placement")


def check_task(task: Task, earlier: Sequence[Task], aggregator: Aggregator) -> None:
    """Raise TaskRejected, naming the field, unless `task` is safe after `earlier` tasks."""
    settings, other = aggregator.settings, aggregator.other_aggregator
    addresses = {settings.role: settings.url, other.role: other.url}
    if addresses != {"leader": task.leader, "helper": task.helper}:
        raise TaskRejected(
            "task.leader, task.helper: not this pair; use the addresses "
            f"{addresses['leader']} and {addresses['helper']}"
        )
    if task.min_batch_size < settings.min_batch_floor:
        raise TaskRejected(
            f"task.min_batch_size: {task.min_batch_size} is below the floor of the "
            f"{settings.role}; use at least {settings.min_batch_floor}"
        )
    try:
        check_noise(task, earlier)
    except InvalidInput as error:
        raise TaskRejected(f"task.{error}") from error


def check_noise(task: Task, earlier: Sequence[Task]) -> None:
    """Raise unless the training stays within its claim and sums fit the field.

    Raises TaskRejected or InvalidInput.
    """
    require_kept(task, earlier_rounds(task, earlier))
    # Raises InvalidInput if no proof system covers a vector of this shape.
    _ = task.dap.vdaf
    # Both aggregators may add the full noise, hence twice the variance.
    noise_deviation = math.sqrt(2 * Fraction(task.sigma2))
    max_sum = MAX_REPORTS * task.most + NOISE_DEVIATIONS * noise_deviation
    if max_sum >= FIELD64.modulus / 2:
        raise TaskRejected(
            "task.sigma2: a sum could wrap around the modulus; use less noise"
        )


def earlier_rounds(task: Task, earlier: Sequence[Task]) -> list[Task]:
    """Return the earlier rounds of the training that `task` belongs to.

    Raises TaskRejected unless `task` is the next round and places noise as they did.
    """
    rounds = [round_ for round_ in newest_training(earlier) if round_.id != task.id]
    if task.round == 0:
        return []
    if task.round != len(rounds):
        raise TaskRejected(
            f"task.round: {task.round} does not follow {len(rounds)} earlier rounds; "
            "use the next number"
        )
    policy = (task.placement, task.honest)
    if any((round_.placement, round_.honest) != policy for round_ in rounds):
        raise TaskRejected(
            "task.placement: earlier rounds of this training added noise elsewhere; "
            "use the same placement in all rounds"
        )
    return rounds


def newest_training(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks of one model from its newest round 0 on."""
    starts = [index for index, task in enumerate(tasks) if task.round == 0]
    return list(tasks[max(starts, default=0) :])


def countersign_task(
    store: Datastore, aggregator: Aggregator, task: Task, leader_signature: bytes
) -> bytes:
    """Store a task that is safe and signed by the leader; return the helper's signature."""
    with store.transaction() as tx:
        # Without this lock two concurrent tasks could both become the next round.
        tx.lock_numbering()
        check_task(task, tx.tasks.of_model(task.model), aggregator)
        signature = aggregator.keys.signer.sign(TASK_SIGNED_AS + task.document)
        signatures = {"leader": leader_signature, "helper": signature}
        signed = SignedTask(task, signatures)
        signed.verify(*aggregator.public_keys(), now=task.opens)
        tx.tasks.add(signed)
    return signature


def countersign_release(
    store: Datastore,
    aggregator: Aggregator,
    release: ModelRelease,
    leader_signature: bytes,
) -> bytes:
    """Store a release whose claims match the helper's batches; return its signature.

    Raises ModelRejected or TaskRejected, naming the field.
    """
    signature = aggregator.keys.signer.sign(RELEASE_SIGNED_AS + release.document)
    signatures = {"leader": leader_signature, "helper": signature}
    signed = SignedRelease(release, signatures)
    with store.transaction() as tx:
        newest = tx.published.newest_release(release.model)
        signed.verify(
            *aggregator.public_keys(),
            model=release.model,
            catalog=release.catalog,
            newer_than=_newer_than(newest, signed),
            min_batch_size=aggregator.settings.min_batch_floor,
            now=release.created,
        )
        _check_release(tx, release)
        if newest is None or newest[0] < release.version:
            tx.published.add_release(release.model, release.version, signed.encode())
    return signature


def _newer_than(newest: tuple[int, bytes] | None, signed: SignedRelease) -> int:
    """Return the version that a release must exceed.

    The newest release may be signed again unchanged, because a leader that crashed before it
    stored the signature repeats its request.
    """
    if newest is None:
        return 0
    version, body = newest
    return version - 1 if body == signed.encode() else version


def _check_release(tx: StoreTransaction, release: ModelRelease) -> None:
    tasks = _tasks_of_release(tx, release)
    for name in COMMON_FIELDS:
        if any(getattr(task, name) != getattr(release, name) for task in tasks):
            raise TaskRejected(
                f"release.{name}: differs from its tasks; "
                f"use {getattr(tasks[0], name)!r}"
            )
    _check_batch_size(tx, release, tasks)
    _check_claim(release, tasks)


def _tasks_of_release(tx: StoreTransaction, release: ModelRelease) -> list[Task]:
    tasks = newest_training(tx.tasks.of_model(release.model))
    task_ids = [task.id.hex() for task in tasks]
    # Every round counts: a release that omits one would claim too little privacy loss.
    if not tasks or task_ids != list(release.tasks):
        raise TaskRejected(
            "release.tasks: not the rounds that the helper counted; list every round of "
            "the newest training in order"
        )
    return tasks


def _check_batch_size(
    tx: StoreTransaction, release: ModelRelease, tasks: Sequence[Task]
) -> None:
    counts = []
    for task in tasks:
        share = tx.batches.released_share(task.id, 0, 1)
        counts.append(0 if share is None else share.count)
    smallest = min(counts, default=0)
    if smallest != release.batch_size:
        raise TaskRejected(
            f"release.batch_size: {release.batch_size} is claimed, but the helper counted "
            f"{smallest}; collect every round from both aggregators"
        )


def _check_claim(release: ModelRelease, tasks: Sequence[Task]) -> None:
    computed = claim([task.release for task in tasks], release.delta)
    rho = f"{computed.rho.numerator}/{computed.rho.denominator}"
    # The tolerance allows for rounding of floats on another machine.
    min_epsilon = computed.headline * (1 - 1e-9)
    if rho != release.rho or not release.epsilon >= min_epsilon:
        raise TaskRejected(
            f"release.epsilon: {release.epsilon} (rho {release.rho}) is claimed; its tasks "
            f"cost {computed.headline} (rho {rho}), claim that"
        )


def require_task(tx: StoreTransaction, task_id: str) -> Task:
    """Return the task with this id in hex; raises TaskRejected if it is unknown."""
    signed = tx.tasks.get(bytes.fromhex(task_id))
    if signed is None:
        raise TaskRejected(
            f"release.tasks: {task_id} is not a task of this aggregator; list only its tasks"
        )
    return signed.task
