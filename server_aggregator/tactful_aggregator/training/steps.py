"""One training, step by step: open a round, collect it, learn, open the next, release (leader).

Each step can be repeated after a crash: collecting again gives the same bytes, learning the same
model, and whatever is published is published in one transaction with its transcript entry.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tactful.errors import BatchTooSmall, InvalidInput
from tactful.learning.model import Model
from tactful.learning.round_parameters import RoundParameters, lead_of
from tactful.learning.server.rounds import NoisySum, learn
from tactful.learning.training_plan import FACTOR_ONCE, FACTOR_PAIR, Plan, choose_plan
from tactful.privacy.accountant import claim, mu_for
from tactful.privacy.calibration import largest_rho
from tactful.privacy.mechanism import Family, format_fraction
from tactful.protocol.documents.model_release import SIGNED_AS as RELEASE_SIGNED_AS
from tactful.protocol.documents.model_release import (
    ModelRelease,
    SignedRelease,
    pack,
    unpack,
)
from tactful.protocol.documents.task import SIGNED_AS as TASK_SIGNED_AS
from tactful.protocol.documents.task import SignedTask, Task
from tactful.protocol.log import transcript
from tactful_aggregator.datastore import (
    ABANDONED,
    CLOSING,
    OPEN,
    Datastore,
    StoreTransaction,
)
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.training import countersign
from tactful_aggregator.training.countersign import known
from tactful_aggregator.training.noise_policy import (
    BOX,
    LEVELS,
    check_honest,
    fresh_nonce,
    round_noise,
)
from tactful_aggregator.training.step_lock import exclusive


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the operator asks for: `users` is the number of reports expected in each round.

    `round_seconds` is how long a round stays open at most, `model_seconds` how long a model may be
    used. All rounds together are (`epsilon`, `delta`)-differentially private. `placement` says who
    adds the noise; if devices do in shares, the claim rests on `honest` of them. `words` describe
    each item (learning/item_features.py), by number; they are public, and empty where nothing is told.
    """

    model: str
    catalog: str
    items: int
    users: int
    epsilon: float
    delta: float
    min_batch_size: int
    round_seconds: int = 7 * 86_400
    model_seconds: int = 60 * 86_400
    placement: Literal["aggregator", "devices", "local"] = "aggregator"
    honest: int = 0
    words: tuple[tuple[str, ...], ...] = ()
    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def __post_init__(self) -> None:
        mu_for(self.epsilon, self.delta)  # raises InvalidInput naming epsilon or delta
        for name in (
            "items",
            "users",
            "min_batch_size",
            "round_seconds",
            "model_seconds",
        ):
            if getattr(self, name) < 1:
                raise InvalidInput(
                    name, f"{getattr(self, name)} is below 1", "use a positive number"
                )
        if len(self.words) not in (0, self.items):
            raise InvalidInput(
                "words",
                f"they describe {len(self.words)} items of {self.items}",
                "describe all",
            )
        check_honest(self.placement, self.honest, self.min_batch_size)


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Where a training stands: the open round's task, the hash of what leads it, the tasks so far.

    A count of items is led by nothing, but what an earlier count gave is kept for it. `proposed` is
    the document of a task that the helper was asked to sign: after a crash it is asked for the
    same one.
    """

    training: Training
    plan: Plan
    task: str | None = None
    guide: str | None = None
    tasks: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    state: Literal["waiting", "open", "released", "abandoned"] = "waiting"
    proposed: str | None = None

    @property
    def step(self) -> int:
        """The number of steps taken: opening a round is a step, collecting it the next."""
        return 2 * len(self.tasks) + (self.state == "open")

    def json(self) -> dict[str, object]:
        """As the datastore keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, object]) -> TrainingState:
        """What `json` gave."""
        return _standing(json.dumps(kept))


class Peer(Protocol):
    """Both halves together, as far as a training needs them."""

    def collect(self, task: Task) -> tuple[NDArray[np.int64], int]:
        """(signed noisy sum, number of reports) of a round; asked again, the same.

        Uploads end here. Raises BatchTooSmall, BatchMismatch.
        """

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        """The helper's signature, once it finds the task safe; raises TaskRejected."""

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        """The helper's signature, once it finds the claims true; raises ProtocolError."""


def start(
    store: Datastore, half: Aggregator, training: Training, now: int
) -> TrainingState:
    """Begin a training: the plan is chosen from public numbers. One at a time for each model.

    Raises InvalidInput or TaskRejected for one whose first round `half` would not sign.
    """
    mu = math.sqrt(2 * largest_rho(training.epsilon, training.delta, _family(training)))
    plan = choose_plan(
        training.items,
        training.users,
        mu,
        _factor(training),
        described=bool(training.words),
    )
    standing = TrainingState(training=training, plan=plan)
    first = _task(half, standing, now)
    with exclusive(store, training.model) as held, held.transaction() as tx:
        countersign.check(first, tx.tasks(training.model), half)
        kept = tx.training(training.model)
        if kept is not None and not _is_over(tx, TrainingState.from_json(kept), now):
            raise InvalidInput(
                "model",
                f"{training.model!r} is in training already",
                "refresh it to its end, or end it: tactful-aggregator training abandon MODEL",
            )
        tx.keep_training(training.model, standing.json())
    return standing


def _is_over(tx: StoreTransaction, standing: TrainingState, now: int) -> bool:
    """Whether a training has nothing to wait for: it may be begun again, and charges stay."""
    if standing.task is not None:
        return too_few_came(tx, known(tx, standing.task), now)
    if standing.proposed is not None:
        return now >= Task.parse(standing.proposed.encode()).expires
    return standing.state in ("released", "abandoned") or not standing.tasks


def too_few_came(tx: StoreTransaction, task: Task, now: int) -> bool:
    """Whether a round has ended and can never be collected."""
    return now >= task.expires and tx.count_reports(task.id) < task.min_batch_size


def step(
    store: Datastore,
    half: Aggregator,
    peer: Peer,
    model: str,
    now: int,
    expected: int | None = None,
) -> TrainingState:
    """Take the next step: open the round, or collect it and open the next, or release.

    If the training is not at step `expected`, or another caller took the step meanwhile, return
    where it stands and take none. Raises BatchTooSmall while too few reports have come,
    TaskRejected if a half refuses.
    """
    before = standing_of(store, model)
    with exclusive(store, model) as held:
        standing = standing_of(held, model)
        as_expected = (
            before.step == standing.step
            if expected is None
            else expected == standing.step
        )
        if not as_expected:
            return standing
        return _stepped(held, half, peer, standing, now)


def _stepped(
    store: Datastore, half: Aggregator, peer: Peer, standing: TrainingState, now: int
) -> TrainingState:
    if standing.state in ("released", "abandoned"):
        model = standing.training.model
        raise InvalidInput(
            "model", f"{model!r} is {standing.state}", "start a new training"
        )
    if standing.task is not None:
        standing = _collected(store, half, peer, standing, now)
    return (
        standing
        if standing.state == "released"
        else _opened(store, half, peer, standing, now)
    )


def abandon(store: Datastore, model: str) -> TrainingState:
    """End a training that is not released, so that its model can be trained again.

    Its rounds take no more reports. What devices were charged stays charged, and its tasks stay in
    the transcript. Raises InvalidInput if the model is released or not in training.
    """
    with exclusive(store, model) as held:
        standing = standing_of(held, model)
        if standing.state == "released":
            raise InvalidInput(
                "model", f"{model!r} is released", "start a new training"
            )
        ended = replace(standing, state="abandoned", task=None, proposed=None)
        with held.transaction() as tx:
            for task in tx.tasks(model):
                _end_round(tx, task)
            tx.keep_training(model, ended.json())
    return ended


def _end_round(tx: StoreTransaction, task: Task) -> None:
    tx.hold_task(task.id, alone=True)
    if tx.task_state(task.id) in (OPEN, CLOSING):
        tx.close_batch(task.id, 0, 1)
        tx.set_task_state(task.id, ABANDONED)


def standing_of(store: Datastore, model: str) -> TrainingState:
    """Where the training of `model` stands; raises InvalidInput if there is none."""
    with store.transaction() as tx:
        kept = tx.training(model)
    if kept is None:
        raise InvalidInput(
            "model", f"{model!r} is not in training", "start a training first"
        )
    return TrainingState.from_json(kept)


def _opened(
    store: Datastore, half: Aggregator, peer: Peer, standing: TrainingState, now: int
) -> TrainingState:
    task = _proposed(store, half, standing, now)
    mine = half.keys.signer.sign(TASK_SIGNED_AS + task.document)
    signed = SignedTask(task, {"leader": mine, "helper": peer.sign_task(task, mine)})
    signed.verify(*half.public_keys(), now=now)
    opened = replace(standing, task=task.id.hex(), state="open", proposed=None)
    with store.transaction() as tx:
        tx.add_task(signed)
        log(tx, "task", signed.task.document, now)
        tx.keep_training(task.model, opened.json())
    return opened


def _proposed(
    store: Datastore, half: Aggregator, standing: TrainingState, now: int
) -> Task:
    """The next round's task, kept before the helper hears of it; raises TaskRejected."""
    if standing.proposed is not None:
        known_task = Task.parse(standing.proposed.encode())
        if now < known_task.expires:
            return known_task
    task = _task(half, standing, now)
    with store.transaction() as tx:
        countersign.check(task, tx.tasks(task.model), half)
        proposing = replace(standing, proposed=task.document.decode())
        tx.keep_training(task.model, proposing.json())
    return task


def _task(half: Aggregator, standing: TrainingState, now: int) -> Task:
    training, plan, number = standing.training, standing.plan, len(standing.tasks)
    length = plan.length(number)
    family, sigma2 = round_noise(training, length, plan.shares[number])
    return Task(
        version="tactful-1",
        model=training.model,
        round=number,
        rounds=plan.rounds,
        kind=plan.kind(number),
        catalog=training.catalog,
        items=training.items,
        length=length,
        levels=LEVELS,
        box=BOX,
        family=family,
        sigma2=format_fraction(sigma2),
        adjacency="zero_out",
        unit="device",
        epsilon=training.epsilon,
        delta=training.delta,
        min_batch_size=training.min_batch_size,
        leader=half.settings.url,
        helper=half.paired.url,
        opens=now,
        expires=now + training.round_seconds,
        guide=None if plan.kind(number) == "popularity" else standing.guide,
        nonce=fresh_nonce(),
        placement=training.placement,
        honest=training.honest,
    )


def _family(training: Training) -> Family:
    return (
        "rounded_gaussian"
        if training.placement == "aggregator"
        else "discrete_gaussian"
    )


def _factor(training: Training) -> float:
    """By how much a sum's noise is more than the least that the claim needs."""
    if training.placement == "aggregator":
        return FACTOR_PAIR
    adders = training.honest if training.placement == "devices" else 1
    return FACTOR_ONCE * math.sqrt(max(training.users / adders, 1.0))


def _collected(
    store: Datastore, half: Aggregator, peer: Peer, standing: TrainingState, now: int
) -> TrainingState:
    task = _open_task(store, standing)
    try:
        total, count = peer.collect(task)
    except BatchTooSmall as few:
        if now < task.expires:
            raise
        raise BatchTooSmall(
            "invalidBatchSize: too few reports came before the round was over; nothing is "
            "released, start the training again"
        ) from few
    record_batch(store, task, total, count, now)
    vector = task.decode(total, count)
    # what the sum really carries, all noise in it, tells how far it can be trusted
    tau = math.sqrt(task.noise_variance(count)) / task.encoding.levels_per_unit
    done = replace(
        standing,
        task=None,
        state="waiting",
        tasks=(*standing.tasks, task.id.hex()),
        counts=(*standing.counts, count),
    )
    released = NoisySum(vector, tau, count, task.id)
    words = standing.training.words or None
    plan, lead = learn(
        standing.plan, task.round, _lead(store, standing), released, words
    )
    done = replace(done, plan=plan)
    if len(done.tasks) == plan.rounds and isinstance(lead, Model):
        return _released(store, half, peer, done, lead, now)
    return _led(store, done, lead)


def _led(store: Datastore, done: TrainingState, lead: RoundParameters) -> TrainingState:
    content = pack(lead.arrays())
    digest = hashlib.sha256(content).hexdigest()
    guided = replace(done, guide=digest)
    with store.transaction() as tx:
        tx.add_file(digest, content)
        tx.keep_training(done.training.model, guided.json())
    return guided


def _released(
    store: Datastore,
    half: Aggregator,
    peer: Peer,
    done: TrainingState,
    model: Model,
    now: int,
) -> TrainingState:
    content = pack(model.arrays())
    release = _release(store, done, model, hashlib.sha256(content).hexdigest(), now)
    mine = half.keys.signer.sign(RELEASE_SIGNED_AS + release.document)
    theirs = peer.sign_release(release, mine)
    body = SignedRelease(release, {"leader": mine, "helper": theirs}).encode()
    released = replace(done, state="released")
    with store.transaction() as tx:
        tx.add_file(release.file, content)
        tx.add_release(release.model, release.version, body)
        log(tx, "release", release.document, now)
        tx.keep_training(release.model, released.json())
    return released


def _release(
    store: Datastore, done: TrainingState, model: Model, file: str, now: int
) -> ModelRelease:
    with store.transaction() as tx:
        newest = tx.newest_release(done.training.model)
        tasks = [known(tx, task_id) for task_id in done.tasks]
    promised = claim([task.release for task in tasks], done.training.delta)
    return ModelRelease(
        version=1 if newest is None else newest[0] + 1,
        model=done.training.model,
        kind="popularity" if model.kind == "popularity" else "personal",
        catalog=done.training.catalog,
        items=done.training.items,
        tasks=done.tasks,
        batch_size=min(done.counts),
        epsilon=promised.headline,
        delta=done.training.delta,
        rho=format_fraction(promised.rho),
        adjacency="zero_out",
        unit="device",
        created=now,
        expires=now + done.training.model_seconds,
        file=file,
        placement=done.training.placement,
    )


def _open_task(store: Datastore, standing: TrainingState) -> Task:
    with store.transaction() as tx:
        return known(tx, str(standing.task))


def _lead(store: Datastore, standing: TrainingState) -> RoundParameters | None:
    if standing.guide is None:
        return None
    with store.transaction() as tx:
        content = tx.file(standing.guide)
    if content is None:
        return None
    return lead_of(standing.plan.kind(len(standing.tasks)), unpack(content))


def log(tx: StoreTransaction, kind: transcript.Kind, document: bytes, now: int) -> None:
    """Publish a document in the transcript, in the transaction that publishes it."""
    tx.hold_order()
    written = tx.transcript()
    latest = (
        transcript.parse(written[-1]).time if written else 0
    )  # a clock may have gone back
    entry = transcript.follow(len(written), kind, document, max(now, latest))
    tx.append_transcript(entry.index, entry.encode())


def record_batch(
    store: Datastore, task: Task, total: NDArray[np.int64], count: int, now: int
) -> None:
    """Publish what a batch became, once, with its log entry; collected again it is the same."""
    content = total.astype("<i8").tobytes()
    digest = hashlib.sha256(content).hexdigest()
    record = transcript.BatchRecord(
        task=task.id.hex(), count=count, sigma2=task.sigma2, sum=digest
    ).document
    name = hashlib.sha256(record).hexdigest()
    with store.transaction() as tx:
        if tx.file(name) is None:
            tx.add_file(digest, content)
            tx.add_file(name, record)
            log(tx, "result", record, now)


def _standing(text: str) -> TrainingState:
    from pydantic import TypeAdapter

    return TypeAdapter(TrainingState).validate_json(text)
