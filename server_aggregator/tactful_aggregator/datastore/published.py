"""Trainings, experiments, and everything that is published."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select

from tactful_aggregator.datastore.rows import Rows
from tactful_aggregator.datastore.schema import (
    file,
    period,
    release,
    training,
    transcript,
)


@dataclass(frozen=True)
class Period:
    """A collected period of an experiment: how many people, the noise of each entry, the sum.

    `vector` holds float64 entries for people's vectors of length at most 1.
    """

    task_id: bytes
    people: int
    tau: float
    vector: bytes


class PublishedRows(Rows):
    """What everyone may read, and where trainings stand."""

    def add_period(self, model: str, kept: Period) -> bool:
        """Keep what a period summed to; False if it was kept before."""
        self.hold_order()
        number = self._run(select(func.count()).select_from(period)).scalar_one()
        return self._add(period, {"number": number, "model": model, **vars(kept)})

    def periods(self, model: str) -> list[Period]:
        """All periods of an experiment, oldest first."""
        columns = select(
            period.c.task_id, period.c.people, period.c.tau, period.c.vector
        )
        rows = self._run(
            columns.where(period.c.model == model).order_by(period.c.number)
        )
        return [Period(*row) for row in rows]

    def add_file(self, sha256: str, content: bytes) -> None:
        """Keep a file under its hash."""
        self._add(file, {"sha256": sha256, "content": content})

    def file(self, sha256: str) -> bytes | None:
        """The file with this hash."""
        return self._run(select(file.c.content).where(file.c.sha256 == sha256)).scalar()

    def add_release(self, model: str, version: int, body: bytes) -> None:
        """Publish a release."""
        self._run(insert(release).values(model=model, version=version, body=body))

    def newest_release(self, model: str) -> tuple[int, bytes] | None:
        """(version, body) of the newest release of a model."""
        rows = select(release.c.version, release.c.body).where(release.c.model == model)
        row = self._run(rows.order_by(release.c.version.desc()).limit(1)).one_or_none()
        return None if row is None else (row[0], row[1])

    def releases(self) -> list[bytes]:
        """The bodies of all releases of all models."""
        rows = select(release.c.body).order_by(release.c.model, release.c.version)
        return list(self._run(rows).scalars())

    def append_transcript(self, number: int, entry: str) -> None:
        """Add an entry; the same number twice is refused by the database."""
        self._run(insert(transcript).values(number=number, entry=entry))

    def transcript(self, since: int = 0) -> list[str]:
        """Return the entries from place `since` on, in order."""
        rows = select(transcript.c.entry).where(transcript.c.number >= since)
        return list(self._run(rows.order_by(transcript.c.number)).scalars())

    def training(self, model: str) -> dict[str, object] | None:
        """Where the training of a model stands."""
        state = self._run(
            select(training.c.state).where(training.c.model == model)
        ).scalar()
        return None if state is None else dict(json.loads(state))

    def keep_training(self, model: str, state: Mapping[str, object]) -> None:
        """Replace where the training of a model stands."""
        written = json.dumps(state, sort_keys=True)
        self._put(training, ("model",), {"model": model, "state": written})

    def models(self) -> Sequence[str]:
        """The models that have a training."""
        return (
            self._run(select(training.c.model).order_by(training.c.model))
            .scalars()
            .all()
        )
