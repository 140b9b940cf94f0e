"""Published files, releases and the publication log."""

from __future__ import annotations

from sqlalchemy import insert, select

from tactful_aggregator.datastore.schema import file, release, transcript
from tactful_aggregator.datastore.statements import Statements


class PublishedQueries:
    """Statements on everything that anyone may read."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    def add_file(self, sha256: str, content: bytes) -> None:
        """Store a file under its hash, unless it is stored already."""
        row: dict[str, object] = {"sha256": sha256, "content": content}
        self._statements.insert_if_absent(file, row)

    def file(self, sha256: str) -> bytes | None:
        """Return the file with this hash, or None."""
        return self._run(select(file.c.content).where(file.c.sha256 == sha256)).scalar()

    def add_release(self, model: str, version: int, body: bytes) -> None:
        """Store a signed release; the database refuses an existing version."""
        self._run(insert(release).values(model=model, version=version, body=body))

    def newest_release(self, model: str) -> tuple[int, bytes] | None:
        """Return (version, signed release) of the newest release of a model, or None."""
        rows = select(release.c.version, release.c.body).where(release.c.model == model)
        newest = rows.order_by(release.c.version.desc()).limit(1)
        row = self._run(newest).one_or_none()
        return None if row is None else (row[0], row[1])

    def releases(self) -> list[bytes]:
        """Return the signed releases of all models."""
        rows = select(release.c.body).order_by(release.c.model, release.c.version)
        return list(self._run(rows).scalars())

    def append_entry(self, number: int, entry: str) -> None:
        """Append an entry to the publication log; the database refuses a used number."""
        self._run(insert(transcript).values(number=number, entry=entry))

    def entries(self, since: int = 0) -> list[str]:
        """Return the entries of the publication log from number `since` on, in order."""
        rows = select(transcript.c.entry).where(transcript.c.number >= since)
        return list(self._run(rows.order_by(transcript.c.number)).scalars())
