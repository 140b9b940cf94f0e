"""A training at the leader, step by step: start it, take its next step, or abandon it."""

from __future__ import annotations

import math
from dataclasses import replace

from tactful.errors import InvalidInput
from tactful.privacy.calibration import largest_rho
from tactful.privacy.mechanism import Family
from tactful.protocol.documents.task import Task
from tactful_aggregator.datastore import (
    ABANDONED,
    CLOSING,
    OPEN,
    Datastore,
    StoreTransaction,
)
from tactful_aggregator.learning.training_plan import (
    FACTOR_ONCE,
    FACTOR_PAIR,
    Plan,
    choose_plan,
)
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.training.coordinator import RoundCoordinator
from tactful_aggregator.training.countersign import check_task, require_task
from tactful_aggregator.training.rounds import (
    collect_round,
    ended_too_small,
    next_task,
    open_round,
)
from tactful_aggregator.training.state import Training, TrainingState, load_state
from tactful_aggregator.training.step_lock import exclusive


def start(
    store: Datastore, aggregator: Aggregator, training: Training, now: int
) -> TrainingState:
    """Start a training with a plan chosen from public numbers; one at a time per model.

    Raises InvalidInput or TaskRejected if this aggregator would not sign its first round.
    """
    training_state = TrainingState(training=training, plan=_plan(training))
    first_task = next_task(aggregator, training_state, now)
    model = training.model
    with exclusive(store, model) as locked_store, locked_store.transaction() as tx:
        check_task(first_task, tx.tasks.of_model(model), aggregator)
        _require_no_training(tx, model, now)
        tx.trainings.set_state(model, training_state.json())
    return training_state


def _plan(training: Training) -> Plan:
    rho = largest_rho(training.epsilon, training.delta, _noise_family(training))
    return choose_plan(
        training.items,
        training.users,
        math.sqrt(2 * rho),
        _noise_factor(training),
        described=bool(training.words),
    )


def _noise_family(training: Training) -> Family:
    if training.placement == "aggregator":
        return "rounded_gaussian"
    return "discrete_gaussian"


def _noise_factor(training: Training) -> float:
    """Return the ratio of a sum's noise to the least noise that the claim needs."""
    if training.placement == "aggregator":
        return FACTOR_PAIR
    # All devices add noise, but the claim counts only that of the honest ones.
    adders = training.honest if training.placement == "devices" else 1
    return FACTOR_ONCE * math.sqrt(max(training.users / adders, 1.0))


def _require_no_training(tx: StoreTransaction, model: str, now: int) -> None:
    document = tx.trainings.state(model)
    if document is None:
        return
    if not _can_be_replaced(tx, TrainingState.from_json(document), now):
        raise InvalidInput(
            "model",
            f"{model!r} is in training already",
            "refresh it until it is released, or end it with: "
            "tactful-aggregator training abandon --dir DIR MODEL",
        )


def _can_be_replaced(
    tx: StoreTransaction, training_state: TrainingState, now: int
) -> bool:
    """Return True if a training has nothing to wait for; its charges stay in any case."""
    if training_state.task is not None:
        task = require_task(tx, training_state.task)
        return ended_too_small(tx, task, now)
    if training_state.proposed is not None:
        return now >= Task.parse(training_state.proposed.encode()).expires
    has_ended = training_state.state in ("released", "abandoned")
    return has_ended or not training_state.tasks


def step(
    store: Datastore,
    aggregator: Aggregator,
    coordinator: RoundCoordinator,
    model: str,
    now: int,
    expected: int | None = None,
) -> TrainingState:
    """Take the next step: open the round, or collect it and open the next, or release.

    Takes no step and returns the present state if the training is not at step `expected`, or
    if another caller took the step meanwhile. Raises BatchTooSmall while too few reports have
    arrived, TaskRejected if an aggregator refuses the task.
    """
    # Read before waiting for the lock, to notice the step of another caller.
    present = load_state(store, model)
    expected_step = present.step if expected is None else expected
    with exclusive(store, model) as locked_store:
        training_state = load_state(locked_store, model)
        if training_state.step != expected_step:
            return training_state
        return _take_step(locked_store, aggregator, coordinator, training_state, now)


def _take_step(
    store: Datastore,
    aggregator: Aggregator,
    coordinator: RoundCoordinator,
    training_state: TrainingState,
    now: int,
) -> TrainingState:
    if training_state.state in ("released", "abandoned"):
        model = training_state.training.model
        raise InvalidInput(
            "model", f"{model!r} is {training_state.state}", "start a new training"
        )
    if training_state.task is not None:
        training_state = collect_round(
            store, aggregator, coordinator, training_state, now
        )
    if training_state.state == "released":
        return training_state
    return open_round(store, aggregator, coordinator, training_state, now)


def abandon(store: Datastore, model: str) -> TrainingState:
    """End a training that is not released, so that its model can be trained again.

    Its rounds accept no more reports. Devices keep the charges they recorded, and its tasks
    stay in the publication log. Raises InvalidInput if the model is released or not in
    training.
    """
    with exclusive(store, model) as locked_store:
        training_state = load_state(locked_store, model)
        if training_state.state == "released":
            raise InvalidInput(
                "model", f"{model!r} is released", "start a new training"
            )
        abandoned = replace(training_state, state="abandoned", task=None, proposed=None)
        with locked_store.transaction() as tx:
            for task in tx.tasks.of_model(model):
                _abandon_task(tx, task)
            tx.trainings.set_state(model, abandoned.json())
    return abandoned


def _abandon_task(tx: StoreTransaction, task: Task) -> None:
    tx.tasks.lock(task.id, exclusive=True)
    if tx.tasks.state(task.id) in (OPEN, CLOSING):
        tx.batches.close(task.id, 0, 1)
        tx.tasks.set_state(task.id, ABANDONED)
