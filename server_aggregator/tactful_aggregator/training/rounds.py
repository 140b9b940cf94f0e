"""One round of a training: propose and open its task, collect it, learn from its sum."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

from tactful.errors import BatchTooSmall
from tactful.learning.model import Model
from tactful.learning.round_parameters import RoundParameters, lead_of
from tactful.privacy.mechanism import format_fraction
from tactful.protocol.documents.model_release import pack, unpack
from tactful.protocol.documents.task import SIGNED_AS, SignedTask, Task
from tactful_aggregator.datastore import Datastore, StoreTransaction
from tactful_aggregator.learning.rounds import NoisySum, learn
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.training.coordinator import RoundCoordinator
from tactful_aggregator.training.countersign import check_task, require_task
from tactful_aggregator.training.model_release import release_model
from tactful_aggregator.training.noise_policy import (
    BOX,
    LEVELS,
    fresh_nonce,
    round_noise,
)
from tactful_aggregator.training.publication import append_to_log, record_batch
from tactful_aggregator.training.state import TrainingState


def open_round(
    store: Datastore,
    aggregator: Aggregator,
    coordinator: RoundCoordinator,
    training_state: TrainingState,
    now: int,
) -> TrainingState:
    """Open the next round; return the new state.

    The order makes a crash harmless: the proposed task is stored, then signed by the helper,
    and then published together with its log entry. Raises TaskRejected.
    """
    task = _proposed_task(store, aggregator, training_state, now)
    signature = aggregator.keys.signer.sign(SIGNED_AS + task.document)
    helper_signature = coordinator.sign_task(task, signature)
    signed = SignedTask(task, {"leader": signature, "helper": helper_signature})
    signed.verify(*aggregator.public_keys(), now=now)
    opened = replace(training_state, task=task.id.hex(), state="open", proposed=None)
    with store.transaction() as tx:
        tx.tasks.add(signed)
        append_to_log(tx, "task", signed.task.document, now)
        tx.trainings.set_state(task.model, opened.json())
    return opened


def _proposed_task(
    store: Datastore, aggregator: Aggregator, training_state: TrainingState, now: int
) -> Task:
    """Return the next round's task, stored before the helper is asked to sign it."""
    if training_state.proposed is not None:
        proposed = Task.parse(training_state.proposed.encode())
        # The helper may have signed it already and counts it as this round.
        if now < proposed.expires:
            return proposed
    task = next_task(aggregator, training_state, now)
    with store.transaction() as tx:
        check_task(task, tx.tasks.of_model(task.model), aggregator)
        proposing = replace(training_state, proposed=task.document.decode())
        tx.trainings.set_state(task.model, proposing.json())
    return task


def next_task(aggregator: Aggregator, training_state: TrainingState, now: int) -> Task:
    """Return the task of the next round of a training, with a fresh nonce."""
    training, plan = training_state.training, training_state.plan
    number = len(training_state.tasks)
    kind = plan.kind(number)
    length = plan.length(number)
    family, sigma2 = round_noise(training, length, plan.shares[number])
    return Task(
        version="tactful-1",
        model=training.model,
        round=number,
        rounds=plan.rounds,
        kind=kind,
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
        leader=aggregator.settings.url,
        helper=aggregator.other_aggregator.url,
        opens=now,
        expires=now + training.round_seconds,
        guide=None if kind == "popularity" else training_state.guide,
        nonce=fresh_nonce(),
        placement=training.placement,
        honest=training.honest,
    )


def collect_round(
    store: Datastore,
    aggregator: Aggregator,
    coordinator: RoundCoordinator,
    training_state: TrainingState,
    now: int,
) -> TrainingState:
    """Collect the open round and learn from it; release the model after the last round.

    Returns the new state. Each part can be repeated after a crash: the collection returns the
    same bytes and learning the same result. Raises BatchTooSmall.
    """
    with store.transaction() as tx:
        task = require_task(tx, str(training_state.task))
    noisy_sum = _collected_sum(store, coordinator, task, now)
    plan, parameters = learn(
        training_state.plan,
        task.round,
        _round_parameters(store, training_state),
        noisy_sum,
        training_state.training.words or None,
    )
    collected = replace(
        training_state,
        task=None,
        state="waiting",
        tasks=(*training_state.tasks, task.id.hex()),
        counts=(*training_state.counts, noisy_sum.people),
        plan=plan,
    )
    is_last = len(collected.tasks) == plan.rounds
    if is_last and isinstance(parameters, Model):
        return release_model(store, aggregator, coordinator, collected, parameters, now)
    return _store_parameters(store, collected, parameters)


def _collected_sum(
    store: Datastore, coordinator: RoundCoordinator, task: Task, now: int
) -> NoisySum:
    try:
        total, count = coordinator.collect(task)
    except BatchTooSmall as error:
        if now < task.expires:
            raise
        raise BatchTooSmall(
            "invalidBatchSize: too few reports arrived before the round expired; nothing "
            "was released, start the training again"
        ) from error
    record_batch(store, task, total, count, now)
    # The standard deviation of all noise in the sum, in units of the decoded vector.
    tau = math.sqrt(task.noise_variance(count)) / task.encoding.levels_per_unit
    return NoisySum(task.decode(total, count), tau, count, task.id)


def _round_parameters(
    store: Datastore, training_state: TrainingState
) -> RoundParameters | None:
    if training_state.guide is None:
        return None
    with store.transaction() as tx:
        content = tx.published.file(training_state.guide)
    if content is None:
        return None
    kind = training_state.plan.kind(len(training_state.tasks))
    return lead_of(kind, unpack(content))


def _store_parameters(
    store: Datastore, collected: TrainingState, parameters: RoundParameters
) -> TrainingState:
    content = pack(parameters.arrays())
    digest = hashlib.sha256(content).hexdigest()
    prepared = replace(collected, guide=digest)
    with store.transaction() as tx:
        tx.published.add_file(digest, content)
        tx.trainings.set_state(collected.training.model, prepared.json())
    return prepared


def ended_too_small(tx: StoreTransaction, task: Task, now: int) -> bool:
    """Return True if a task has expired with too few reports to be collected ever."""
    has_expired = now >= task.expires
    return has_expired and tx.reports.count_not_refused(task.id) < task.min_batch_size
