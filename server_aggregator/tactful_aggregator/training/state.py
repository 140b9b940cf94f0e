"""A requested training, and its state between two steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from tactful.errors import InvalidInput
from tactful.privacy.accountant import mu_for
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.learning.training_plan import Plan
from tactful_aggregator.training.noise_policy import check_honest

DAY_SECONDS = 86_400
POSITIVE_FIELDS = (
    "items",
    "users",
    "min_batch_size",
    "round_seconds",
    "model_seconds",
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training as the operator requests it; `users` is the expected reports per round.

    A round stays open for at most `round_seconds`; devices use the model for at most
    `model_seconds`. All rounds together are (`epsilon`, `delta`)-differentially private.
    `placement` names the party that adds the noise; if devices add it in shares, the claim
    assumes `honest` honest devices. `words` are public item features of each item, by number
    (learning/item_features.py), or empty.
    """

    model: str
    catalog: str
    items: int
    users: int
    epsilon: float
    delta: float
    min_batch_size: int
    round_seconds: int = 7 * DAY_SECONDS
    model_seconds: int = 60 * DAY_SECONDS
    placement: Literal["aggregator", "devices", "local"] = "aggregator"
    honest: int = 0
    words: tuple[tuple[str, ...], ...] = ()
    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def __post_init__(self) -> None:
        # Raises InvalidInput, which names epsilon or delta.
        mu_for(self.epsilon, self.delta)
        for name in POSITIVE_FIELDS:
            value = getattr(self, name)
            if value < 1:
                raise InvalidInput(
                    name, f"{value} is below 1", "use a positive integer"
                )
        if len(self.words) not in (0, self.items):
            raise InvalidInput(
                "words",
                f"there are {len(self.words)} lists of words for {self.items} items",
                "give one list per item, or none",
            )
        check_honest(self.placement, self.honest, self.min_batch_size)


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """The state of a training: its open task, its round parameters and its past tasks.

    `task` is the id of the open task and `guide` the SHA-256 of the round parameters, both in
    hex. Devices need no parameters in a popularity round, but learning from it uses those of
    the round before.
    `proposed` is the document of a task that the helper was asked to sign: after a crash it
    is asked to sign the same task.
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
        """The number of completed steps; opening and collecting a round are one step each."""
        return 2 * len(self.tasks) + (self.state == "open")

    def json(self) -> dict[str, object]:
        """Return the state as the datastore stores it."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> TrainingState:
        """Return the state from a document of `json`."""
        from pydantic import TypeAdapter

        # Parsed as JSON text: strict validation accepts lists as tuples only there.
        return TypeAdapter(cls).validate_json(json.dumps(document))


def load_state(store: Datastore, model: str) -> TrainingState:
    """Return the state of a model's training; raises InvalidInput if it has none."""
    with store.transaction() as tx:
        document = tx.trainings.state(model)
    if document is None:
        raise InvalidInput(
            "model", f"{model!r} is not in training", "start a training first"
        )
    return TrainingState.from_json(document)
