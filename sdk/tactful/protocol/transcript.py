"""What a pair has published, in order: each entry holds the hash of the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from tactful.errors import ProtocolError
from tactful.protocol.signed import canonical

GENESIS = "0" * 64
Kind = Literal["task", "release", "result"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One published document: its kind and SHA-256, and the hash of the entry before it."""

    index: int
    previous: str
    kind: Kind
    sha256: str
    time: int

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}

    def encode(self) -> str:
        """The entry as it is kept and published: one line of JSON."""
        return canonical(asdict(self)).decode()

    @property
    def hash(self) -> str:
        """The SHA-256 of this entry, which the next one holds."""
        return hashlib.sha256(self.encode().encode()).hexdigest()


def parse(line: str) -> Entry:
    """The entry that `encode` wrote; raises ProtocolError if it is none."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Entry).validate_json(line)
    except ValidationError as wrong:
        raise ProtocolError("transcript: a line is not an entry") from wrong


def follow(last: Entry | None, kind: Kind, document: bytes, time: int) -> Entry:
    """The entry for `document` after `last`; `time` is in unix seconds."""
    return Entry(
        index=0 if last is None else last.index + 1,
        previous=GENESIS if last is None else last.hash,
        kind=kind,
        sha256=hashlib.sha256(document).hexdigest(),
        time=time,
    )


def verify(entries: Sequence[Entry]) -> None:
    """Check that nothing was changed, moved or left out; raises ProtocolError naming the entry."""
    previous = GENESIS
    for index, entry in enumerate(entries):
        if (entry.index, entry.previous) != (index, previous):
            raise ProtocolError(f"transcript: entry {index} does not follow the one before it")
        previous = entry.hash
