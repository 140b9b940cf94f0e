"""The release of a trained model, signed by both aggregators."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tactful.learning.model import Model
from tactful.privacy.accountant import claim
from tactful.privacy.mechanism import format_fraction
from tactful.protocol.documents.model_release import (
    SIGNED_AS,
    ModelRelease,
    SignedRelease,
    pack,
)
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.training.coordinator import RoundCoordinator
from tactful_aggregator.training.countersign import require_task
from tactful_aggregator.training.publication import append_to_log
from tactful_aggregator.training.state import TrainingState


def release_model(
    store: Datastore,
    aggregator: Aggregator,
    coordinator: RoundCoordinator,
    collected: TrainingState,
    model: Model,
    now: int,
) -> TrainingState:
    """Sign and publish the model of a finished training; return the new state.

    File, release, log entry and state are published in one transaction.
    """
    content = pack(model.arrays())
    digest = hashlib.sha256(content).hexdigest()
    release = _release_of(store, collected, model, digest, now)
    signature = aggregator.keys.signer.sign(SIGNED_AS + release.document)
    helper_signature = coordinator.sign_release(release, signature)
    signatures = {"leader": signature, "helper": helper_signature}
    body = SignedRelease(release, signatures).encode()
    released = replace(collected, state="released")
    with store.transaction() as tx:
        tx.published.add_file(release.file, content)
        tx.published.add_release(release.model, release.version, body)
        append_to_log(tx, "release", release.document, now)
        tx.trainings.set_state(release.model, released.json())
    return released


def _release_of(
    store: Datastore, collected: TrainingState, model: Model, digest: str, now: int
) -> ModelRelease:
    training = collected.training
    with store.transaction() as tx:
        newest = tx.published.newest_release(training.model)
        tasks = [require_task(tx, task_id) for task_id in collected.tasks]
    privacy_claim = claim([task.release for task in tasks], training.delta)
    return ModelRelease(
        version=1 if newest is None else newest[0] + 1,
        model=training.model,
        kind="popularity" if model.kind == "popularity" else "personal",
        catalog=training.catalog,
        items=training.items,
        tasks=collected.tasks,
        batch_size=min(collected.counts),
        epsilon=privacy_claim.headline,
        delta=training.delta,
        rho=format_fraction(privacy_claim.rho),
        adjacency="zero_out",
        unit="device",
        created=now,
        expires=now + training.model_seconds,
        file=digest,
        placement=training.placement,
    )
