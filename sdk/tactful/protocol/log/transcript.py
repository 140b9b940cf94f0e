"""What a pair has published, in order: a log that only grows, and signed heads of it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeVar

from tactful.errors import ProtocolError
from tactful.protocol.log import merkle
from tactful.protocol.signed_json import canonical, is_signed

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SIGNED_AS = b"tactful-1 checkpoint"
Kind = Literal["task", "release", "result"]
Document = TypeVar("Document", "LogEntry", "Checkpoint", "BatchRecord")


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One published document: its place, kind and SHA-256; `time` is in unix seconds."""

    index: int
    kind: Kind
    sha256: str
    time: int

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def encode(self) -> str:
        """The entry as it is kept and published: one line of JSON."""
        return canonical(asdict(self)).decode()

    @property
    def leaf(self) -> bytes:
        """Its hash as a leaf of the log."""
        return merkle.leaf(self.encode().encode())


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The head of a log of `size` entries; `time` is that of the last of them."""

    size: int
    root: str
    time: int

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    @property
    def document(self) -> bytes:
        """The head in its one form."""
        return canonical(asdict(self))


@dataclass(frozen=True)
class SignedCheckpoint:
    """A head and the leader's signature: who holds two that differ holds proof of a split view."""

    checkpoint: Checkpoint
    signature: bytes

    def encode(self) -> str:
        """The JSON that is published and kept."""
        signature = base64.b64encode(self.signature).decode()
        return canonical({**asdict(self.checkpoint), "signature": signature}).decode()

    @classmethod
    def decode(cls, text: str | bytes) -> SignedCheckpoint:
        """What was published, not verified; raises ProtocolError if it is none."""
        try:
            fields = json.loads(text)
            signature = base64.b64decode(fields.pop("signature"), validate=True)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as wrong:
            raise ProtocolError("log: this is no signed checkpoint") from wrong
        return cls(_parsed(Checkpoint, json.dumps(fields)), signature)

    def verify(self, leader_key: bytes) -> Checkpoint:
        """The head, once the leader signed it; raises ProtocolError."""
        if not is_signed(
            SIGNED_AS + self.checkpoint.document, self.signature, leader_key
        ):
            raise ProtocolError(
                "log.signature: it is not by the key this device trusts"
            )
        return self.checkpoint


class Signer(Protocol):
    """Whatever signs heads: the leader's Ed25519 key."""

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """That a document is in the log at a signed head, and that the log grew from an older one."""

    entry: str
    checkpoint: SignedCheckpoint
    inclusion: tuple[bytes, ...]
    consistency: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The JSON that is published."""
        return canonical(
            {
                "entry": self.entry,
                "checkpoint": self.checkpoint.encode(),
                "inclusion": [step.hex() for step in self.inclusion],
                "consistency": [step.hex() for step in self.consistency],
            }
        )

    @classmethod
    def decode(cls, body: bytes) -> Proof:
        """What was published, not verified; raises ProtocolError if it is none."""
        try:
            fields = json.loads(body)
            return cls(
                entry=str(fields["entry"]),
                checkpoint=SignedCheckpoint.decode(str(fields["checkpoint"])),
                inclusion=tuple(bytes.fromhex(step) for step in fields["inclusion"]),
                consistency=tuple(
                    bytes.fromhex(step) for step in fields["consistency"]
                ),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as wrong:
            raise ProtocolError("log: this is no proof") from wrong

    def verify(
        self, document: bytes, kind: Kind, leader_key: bytes, since: Checkpoint | None
    ) -> Checkpoint:
        """The head, once it holds `document`, and begins with what `since` held.

        Raises ProtocolError naming what does not hold.
        """
        head = self.checkpoint.verify(leader_key)
        entry = parse(self.entry)
        if (entry.kind, entry.sha256) != (kind, hashlib.sha256(document).hexdigest()):
            raise ProtocolError("log.entry: it is of another document")
        tree = bytes.fromhex(head.root)
        if not merkle.includes(
            entry.leaf, entry.index, head.size, self.inclusion, tree
        ):
            raise ProtocolError("log.inclusion: the document is not in the log")
        if since is not None:
            old = bytes.fromhex(since.root)
            if not merkle.grew(old, since.size, tree, head.size, self.consistency):
                raise ProtocolError(
                    "log.consistency: it is not the log this device has seen; keep both heads"
                )
        return head


@dataclass(frozen=True, kw_only=True)
class BatchRecord:
    """What one batch became: logged under its hash when the sum is used, for anyone to check.

    `sigma2` is the noise of the task, which each half declares to have added unless the task says
    that devices did, `sum` the SHA-256 of the noisy whole
    numbers as little-endian 64 bit, the only thing that is ever released of a batch.
    """

    task: str
    count: int
    sigma2: str
    sum: str

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    @property
    def document(self) -> bytes:
        """The record in its one form."""
        return canonical(asdict(self))

    @classmethod
    def parse(cls, document: str | bytes) -> BatchRecord:
        """The record of a document; raises ProtocolError if it is none."""
        return _parsed(
            cls, document if isinstance(document, str) else document.decode()
        )


def parse(line: str) -> LogEntry:
    """The entry that `encode` wrote; raises ProtocolError if it is none."""
    entry = _parsed(LogEntry, line)
    if entry.encode() != line:
        raise ProtocolError("transcript: a line is not in its one form")
    return entry


def follow(size: int, kind: Kind, document: bytes, time: int) -> LogEntry:
    """The entry for `document` after `size` others; `time` is in unix seconds."""
    return LogEntry(
        index=size, kind=kind, sha256=hashlib.sha256(document).hexdigest(), time=time
    )


def checkpoint(entries: Sequence[LogEntry]) -> Checkpoint:
    """The head of `entries`; raises ProtocolError unless they are numbered and in time's order."""
    before = 0
    for index, entry in enumerate(entries):
        _require_order(index, entry, before)
        before = entry.time
    tree = merkle.root([entry.leaf for entry in entries])
    return Checkpoint(size=len(entries), root=tree.hex(), time=before)


def signed(entries: Sequence[LogEntry], signer: Signer) -> SignedCheckpoint:
    """The head of `entries`, signed: the same bytes whenever it is asked for."""
    return _signed(checkpoint(entries), signer)


class ProvableLog:
    """A log in memory that answers proofs without reading or hashing it again.

    Parsing and hashing 5,000 entries takes seconds of CPU; a server does it once, and adds only
    what is new.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._entries: list[LogEntry] = []
        self._tree = merkle.MerkleTree()
        self._newest: dict[str, int] = {}  # SHA-256 of a document to its last place
        self.extend(lines)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def extend(self, lines: Iterable[str]) -> None:
        """Add entries; raise ProtocolError at the first that does not follow the one before it."""
        for line in lines:
            entry = parse(line)
            _require_order(len(self._entries), entry, self._time)
            self._entries.append(entry)
            self._tree.append(entry.leaf)
            self._newest[entry.sha256] = entry.index

    def checkpoint(self) -> Checkpoint:
        """Return the head of the log."""
        return Checkpoint(size=len(self), root=self._tree.root().hex(), time=self._time)

    def signed(self, signer: Signer) -> SignedCheckpoint:
        """Return the signed head: the same bytes whenever it is asked for."""
        return _signed(self.checkpoint(), signer)

    def prove(self, sha256: str, since: int, signer: Signer) -> Proof | None:
        """Prove the newest entry with this hash to someone who saw a log of `since` entries.

        Return None if the log has no such entry or is shorter than `since`.
        """
        place = self._newest.get(sha256)
        if place is None or not 0 <= since <= len(self):
            return None
        return Proof(
            entry=self._entries[place].encode(),
            checkpoint=self.signed(signer),
            inclusion=tuple(self._tree.inclusion(place)),
            consistency=tuple(self._tree.consistency(since)) if since else (),
        )

    @property
    def _time(self) -> int:
        return self._entries[-1].time if self._entries else 0


def _require_order(index: int, entry: LogEntry, before: int) -> None:
    if entry.index != index or entry.time < before:
        raise ProtocolError(
            f"transcript: entry {index} does not follow the one before it"
        )


def _signed(head: Checkpoint, signer: Signer) -> SignedCheckpoint:
    return SignedCheckpoint(head, signer.sign(SIGNED_AS + head.document))


_ADAPTERS: dict[
    str, TypeAdapter[object]
] = {}  # building one costs as much as parsing 100 lines


def _adapter(kind: type[object]) -> TypeAdapter[object]:
    """Return the parser of a document type."""
    from pydantic import TypeAdapter

    if kind.__name__ not in _ADAPTERS:
        _ADAPTERS[kind.__name__] = TypeAdapter(kind)
    return _ADAPTERS[kind.__name__]


def _parsed(kind: type[Document], text: str) -> Document:
    from pydantic import ValidationError

    wrong_kind = f"transcript: a line is not an entry or a head ({kind.__name__})"
    try:
        document = _adapter(kind).validate_json(text)
    except ValidationError as wrong:
        raise ProtocolError(wrong_kind) from wrong
    if not isinstance(document, kind):
        raise ProtocolError(wrong_kind)
    return document
