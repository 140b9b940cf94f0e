"""States of trainings and sums of experiment periods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from tactful_aggregator.datastore.schema import period, training
from tactful_aggregator.datastore.statements import Statements


@dataclass(frozen=True)
class Period:
    """A collected period of an experiment.

    `people` is the number of reports and `tau` the standard deviation of the noise of
    each entry. `vector` has float64 entries: the noisy sum of vectors of length at most 1.
    """

    task_id: bytes
    people: int
    tau: float
    vector: bytes


class TrainingQueries:
    """Statements on the states of trainings."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    def state(self, model: str) -> dict[str, object] | None:
        """Return the stored state of a model's training, or None."""
        rows = select(training.c.state).where(training.c.model == model)
        state = self._run(rows).scalar()
        return None if state is None else dict(json.loads(state))

    def set_state(self, model: str, state: Mapping[str, object]) -> None:
        """Store the state of a model's training in place of the former one."""
        row: dict[str, object] = {
            "model": model,
            "state": json.dumps(state, sort_keys=True),
        }
        self._statements.upsert(training, ("model",), row)

    def models(self) -> Sequence[str]:
        """Return the models that have a training, in alphabetical order."""
        rows = select(training.c.model).order_by(training.c.model)
        return self._run(rows).scalars().all()


class PeriodQueries:
    """Statements on the collected periods of experiments."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    def add(self, model: str, collected: Period) -> bool:
        """Store the sum of a period; return False if it is stored already."""
        self._statements.lock_numbering()
        number = self._run(select(func.count()).select_from(period)).scalar_one()
        row = {"number": number, "model": model, **vars(collected)}
        return self._statements.insert_if_absent(period, row)

    def of_model(self, model: str) -> list[Period]:
        """Return all periods of an experiment, oldest first."""
        columns = select(
            period.c.task_id, period.c.people, period.c.tau, period.c.vector
        )
        periods = columns.where(period.c.model == model).order_by(period.c.number)
        return [Period(*row) for row in self._run(periods)]
