"""Is a task safe, a release true? Each half asks before it signs; there is no override."""

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

MOST_REPORTS = 1 << 32


def check(task: Task, earlier: Sequence[Task], half: Aggregator) -> None:
    """Raise TaskRejected naming the field, unless `task` is safe after the `earlier` ones."""
    mine, theirs = half.settings, half.paired
    addresses = {mine.role: mine.url, theirs.role: theirs.url}
    if addresses != {"leader": task.leader, "helper": task.helper}:
        raise TaskRejected(
            f"task.leader, task.helper: not this pair, which is {addresses}"
        )
    if task.min_batch_size < mine.min_batch_floor:
        raise TaskRejected(
            f"task.min_batch_size: {task.min_batch_size} is below this half's floor "
            f"{mine.min_batch_floor}"
        )
    try:
        check_noise(task, earlier)
    except InvalidInput as wrong:
        raise TaskRejected(f"task.{wrong}") from wrong


def check_noise(task: Task, earlier: Sequence[Task]) -> None:
    """The training's charges so far and this one must fit its claim, its sums the modulus."""
    require_kept(task, training_of(task, earlier))
    _ = task.dap.vdaf  # raises InvalidInput if nothing proves such a vector's bound
    widest = MOST_REPORTS * task.most + 12 * math.sqrt(2 * Fraction(task.sigma2))
    if widest >= FIELD64.modulus / 2:
        raise TaskRejected("task.sigma2: a sum could wrap around the modulus")


def training_of(task: Task, earlier: Sequence[Task]) -> list[Task]:
    """The earlier rounds of the training that `task` belongs to: those since the last round 0."""
    rounds = [one for one in newest_training(earlier) if one.id != task.id]
    if task.round == 0:
        return []
    if task.round != len(rounds):
        raise TaskRejected(
            f"task.round: {task.round} does not follow {len(rounds)} earlier rounds"
        )
    if any(
        (one.placement, one.honest) != (task.placement, task.honest) for one in rounds
    ):
        raise TaskRejected(
            "task.placement: its training began with noise added elsewhere"
        )
    return rounds


def newest_training(tasks: Sequence[Task]) -> list[Task]:
    """The rounds of one model since its last round 0."""
    first = max((place for place, one in enumerate(tasks) if one.round == 0), default=0)
    return list(tasks[first:])


def countersign_task(
    store: Datastore, half: Aggregator, task: Task, leader_signature: bytes
) -> bytes:
    """The helper's signature over a task that is safe and by its leader; the helper keeps it."""
    with store.transaction() as tx:
        tx.lock_numbering()  # two tasks at once must not both be the next round
        check(task, tx.tasks.of_model(task.model), half)
        mine = half.keys.signer.sign(TASK_SIGNED_AS + task.document)
        signed = SignedTask(task, {"leader": leader_signature, "helper": mine})
        signed.verify(*half.public_keys(), now=task.opens)
        tx.tasks.add(signed)
    return mine


def countersign_release(
    store: Datastore, half: Aggregator, release: ModelRelease, leader_signature: bytes
) -> bytes:
    """The helper's signature over a release whose claims it can confirm from its own batches."""
    mine = half.keys.signer.sign(RELEASE_SIGNED_AS + release.document)
    signed = SignedRelease(release, {"leader": leader_signature, "helper": mine})
    with store.transaction() as tx:
        newest = tx.published.newest_release(release.model)
        signed.verify(
            *half.public_keys(),
            model=release.model,
            catalog=release.catalog,
            newer_than=_before(newest, signed),
            min_batch_size=half.settings.min_batch_floor,
            now=release.created,
        )
        _confirm(tx, release)
        if newest is None or newest[0] < release.version:
            tx.published.add_release(release.model, release.version, signed.encode())
    return mine


def _before(newest: tuple[int, bytes] | None, signed: SignedRelease) -> int:
    """The version a release must exceed; the one signed last may be signed again, unchanged."""
    if newest is None:
        return 0
    return newest[0] - (newest[1] == signed.encode())


def _confirm(tx: StoreTransaction, release: ModelRelease) -> None:
    tasks = _whole_training(tx, release)
    for name in ("catalog", "items", "adjacency", "unit", "delta", "placement"):
        if any(getattr(task, name) != getattr(release, name) for task in tasks):
            raise TaskRejected(
                f"release.{name}: its tasks say {getattr(tasks[0], name)}"
            )
    batches = [tx.batches.released_share(task.id, 0, 1) for task in tasks]
    counts = [0 if one is None else one.count for one in batches]
    if min(counts, default=0) != release.batch_size:
        raise TaskRejected(
            f"release.batch_size: this half counted {min(counts, default=0)}"
        )
    promised = claim([task.release for task in tasks], release.delta)
    rho = f"{promised.rho.numerator}/{promised.rho.denominator}"
    if rho != release.rho or not release.epsilon >= promised.headline * (1 - 1e-9):
        raise TaskRejected(
            f"release.epsilon: {release.epsilon} is claimed, the tasks cost {promised.headline}"
        )


def _whole_training(tx: StoreTransaction, release: ModelRelease) -> list[Task]:
    """The release's tasks, if they are all rounds of the newest training: none left out."""
    tasks = newest_training(tx.tasks.of_model(release.model))
    if not tasks or [task.id.hex() for task in tasks] != list(release.tasks):
        raise TaskRejected(
            "release.tasks: they are not the rounds that this half counted"
        )
    return tasks


def known(tx: StoreTransaction, task_id: str) -> Task:
    """The task with this id in hex; raises TaskRejected if this half does not have it."""
    signed = tx.tasks.get(bytes.fromhex(task_id))
    if signed is None:
        raise TaskRejected(f"release.tasks: {task_id} is not a task of this half")
    return signed.task
