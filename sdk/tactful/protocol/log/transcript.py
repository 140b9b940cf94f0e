"""The publication log: everything that the aggregators published, in order.

It is append-only, and the leader signs its checkpoints.
"""

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
    """One published document: its index, kind and SHA-256; `time` is in unix seconds."""

    index: int
    kind: Kind
    sha256: str
    time: int

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def encode(self) -> str:
        """Return the entry as it is stored and published: one line of JSON."""
        return canonical(asdict(self)).decode()

    @property
    def leaf(self) -> bytes:
        """The hash of the entry as a leaf of the log."""
        return merkle.leaf(self.encode().encode())


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The head of a log of `size` entries; `time` is that of the last entry."""

    size: int
    root: str
    time: int

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    @property
    def document(self) -> bytes:
        """The checkpoint in its canonical form."""
        return canonical(asdict(self))


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint with the leader's signature.

    Two different ones of the same size prove a split view.
    """

    checkpoint: Checkpoint
    signature: bytes

    def encode(self) -> str:
        """Return the JSON that is published and stored."""
        signature = base64.b64encode(self.signature).decode()
        return canonical({**asdict(self.checkpoint), "signature": signature}).decode()

    @classmethod
    def decode(cls, text: str | bytes) -> SignedCheckpoint:
        """Return the published checkpoint, not verified; raise ProtocolError."""
        try:
            fields = json.loads(text)
            signature = base64.b64decode(fields.pop("signature"), validate=True)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise ProtocolError("log: it is not a signed checkpoint") from error
        return cls(_parsed(Checkpoint, json.dumps(fields)), signature)

    def verify(self, leader_key: bytes) -> Checkpoint:
        """Return the checkpoint; raise ProtocolError unless the leader signed it."""
        message = SIGNED_AS + self.checkpoint.document
        if not is_signed(message, self.signature, leader_key):
            raise ProtocolError(
                "log.signature: it is not by the key that this device trusts; compare "
                "the key in the settings with the operator's"
            )
        return self.checkpoint


class Signer(Protocol):
    """A signer of checkpoints: the leader's Ed25519 key."""

    def sign(self, data: bytes) -> bytes:
        """Return a signature of 64 bytes."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A proof that a document is in the log, and that the log only grew."""

    entry: str
    checkpoint: SignedCheckpoint
    inclusion: tuple[bytes, ...]
    consistency: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the published JSON."""
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
        """Return the published proof, not verified; raise ProtocolError."""
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
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProtocolError("log: it is not a proof") from error

    def verify(
        self, document: bytes, kind: Kind, leader_key: bytes, since: Checkpoint | None
    ) -> Checkpoint:
        """Return the checkpoint if it covers `document` and extends `since`.

        Raise ProtocolError for the first thing that is wrong.
        """
        head = self.checkpoint.verify(leader_key)
        entry = parse(self.entry)
        if (entry.kind, entry.sha256) != (kind, hashlib.sha256(document).hexdigest()):
            raise ProtocolError("log.entry: it is of another document")
        root = bytes.fromhex(head.root)
        if not merkle.includes(
            entry.leaf, entry.index, head.size, self.inclusion, root
        ):
            raise ProtocolError("log.inclusion: the document is not in the log")
        if since is not None:
            old_root = bytes.fromhex(since.root)
            if not merkle.grew(old_root, since.size, root, head.size, self.consistency):
                raise ProtocolError(
                    "log.consistency: it differs from the log that this device saw "
                    "before; keep both heads and tell an auditor"
                )
        return head


@dataclass(frozen=True, kw_only=True)
class BatchRecord:
    """The result of one batch, logged when its sum is used, so that anyone can check it.

    `sigma2` is the noise of the task. Each aggregator declares to have added it, unless
    the task says that devices did. `sum` is the SHA-256 of the noisy integers (64 bit,
    little-endian), which are all that is ever released of a batch.
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
        """The record in its canonical form."""
        return canonical(asdict(self))

    @classmethod
    def parse(cls, document: str | bytes) -> BatchRecord:
        """Return the record of a document; raise ProtocolError for another one."""
        text = document if isinstance(document, str) else document.decode()
        return _parsed(cls, text)


def parse(line: str) -> LogEntry:
    """Return the entry that `encode` wrote; raise ProtocolError for another line."""
    entry = _parsed(LogEntry, line)
    if entry.encode() != line:
        raise ProtocolError("transcript: a line is not in its canonical form")
    return entry


def follow(size: int, kind: Kind, document: bytes, time: int) -> LogEntry:
    """Return the entry for `document` after `size` others; `time` is in unix seconds."""
    return LogEntry(
        index=size, kind=kind, sha256=hashlib.sha256(document).hexdigest(), time=time
    )


def checkpoint(entries: Sequence[LogEntry]) -> Checkpoint:
    """Return the checkpoint of `entries`.

    Raise ProtocolError unless they are numbered and ordered by time.
    """
    last_time = 0
    for index, entry in enumerate(entries):
        _require_order(index, entry, last_time)
        last_time = entry.time
    tree = merkle.root([entry.leaf for entry in entries])
    return Checkpoint(size=len(entries), root=tree.hex(), time=last_time)


def signed(entries: Sequence[LogEntry], signer: Signer) -> SignedCheckpoint:
    """Return the signed checkpoint of `entries`, always with the same bytes."""
    return _signed(checkpoint(entries), signer)


class ProvableLog:
    """A log in memory that returns proofs without parsing and hashing it again.

    Parsing and hashing 5,000 entries takes seconds of CPU. A server does it once, and
    adds only new entries.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._entries: list[LogEntry] = []
        self._tree = merkle.MerkleTree()
        # Last index of each document, by its SHA-256.
        self._last_index: dict[str, int] = {}
        self.extend(lines)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def extend(self, lines: Iterable[str]) -> None:
        """Add entries; raise ProtocolError for one that does not follow the last one."""
        for line in lines:
            entry = parse(line)
            _require_order(len(self._entries), entry, self._time)
            self._entries.append(entry)
            self._tree.append(entry.leaf)
            self._last_index[entry.sha256] = entry.index

    def checkpoint(self) -> Checkpoint:
        """Return the head of the log."""
        return Checkpoint(size=len(self), root=self._tree.root().hex(), time=self._time)

    def signed(self, signer: Signer) -> SignedCheckpoint:
        """Return the signed checkpoint, always with the same bytes."""
        return _signed(self.checkpoint(), signer)

    def prove(self, sha256: str, since: int, signer: Signer) -> Proof | None:
        """Return a proof of the newest entry with this hash.

        The proof starts from a log of `since` entries. Return None if the log has no
        such entry, or is shorter.
        """
        index = self._last_index.get(sha256)
        if index is None or not 0 <= since <= len(self):
            return None
        return Proof(
            entry=self._entries[index].encode(),
            checkpoint=self.signed(signer),
            inclusion=tuple(self._tree.inclusion(index)),
            consistency=tuple(self._tree.consistency(since)) if since else (),
        )

    @property
    def _time(self) -> int:
        return self._entries[-1].time if self._entries else 0


def _require_order(index: int, entry: LogEntry, last_time: int) -> None:
    if entry.index != index or entry.time < last_time:
        raise ProtocolError(
            f"transcript: entry {index} does not follow the one before it"
        )


def _signed(head: Checkpoint, signer: Signer) -> SignedCheckpoint:
    return SignedCheckpoint(head, signer.sign(SIGNED_AS + head.document))


# Building a parser takes as long as parsing 100 lines.
_ADAPTERS: dict[str, TypeAdapter[object]] = {}


def _adapter(kind: type[object]) -> TypeAdapter[object]:
    """Return the parser of a document type."""
    from pydantic import TypeAdapter

    if kind.__name__ not in _ADAPTERS:
        _ADAPTERS[kind.__name__] = TypeAdapter(kind)
    return _ADAPTERS[kind.__name__]


def _parsed(kind: type[Document], text: str) -> Document:
    from pydantic import ValidationError

    problem = f"transcript: a line is not a {kind.__name__}"
    try:
        document = _adapter(kind).validate_json(text)
    except ValidationError as error:
        raise ProtocolError(problem) from error
    if not isinstance(document, kind):
        raise ProtocolError(problem)
    return document
