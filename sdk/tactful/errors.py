"""Everything that can go wrong, as one tree.

TactfulError
├── InvalidInput              a value from outside is wrong: names the field and the fix
│   └── DatasetError          a data folder or file is not what it should be
├── ConsentMissing            the person has not agreed to this purpose
├── VaultError                the vault cannot be read or written
│   ├── WrongKey              the key is not the one that sealed it
│   ├── VaultDamaged          a record was changed, moved, cut or replayed
│   ├── VaultForeign          the file is not a vault, or a newer version wrote it
│   ├── StorageFull           the disk refused a write; nothing was half-written
│   └── NotStored             what the person said holds here, and is to be stored once it can be
├── BudgetExhausted           the charge would exceed the device's cap; nothing was spent
│   └── TrustPending          the ledger may not be whole: reinstalled or restored; wait first
├── ProtocolError             the two sides do not agree
│   ├── DecodeError           bytes are not the message they claim to be
│   ├── OpenError             a sealed share does not open
│   ├── ProofRejected         a report's proof does not hold
│   ├── TaskRejected          a task is unsigned, foreign, unsafe or out of its time
│   ├── HpkeConfigRejected    an HPKE config is unsigned, foreign, out of its time or old
│   ├── ReportRejected        the aggregator refused a report, with its reason
│   └── CollectionDeleted     the collection job was deleted before it was answered
├── TransportError            the aggregator cannot be reached
├── ModelRejected             a release is unsigned, foreign, stale or rolled back
└── BatchError                a batch cannot be released
    ├── BatchTooSmall         fewer reports than the task's minimum
    ├── BatchCollected        the batch was collected before
    └── BatchMismatch         the two halves do not hold the same reports
"""

from __future__ import annotations

__all__ = [
    "BatchCollected",
    "BatchError",
    "BatchMismatch",
    "BatchTooSmall",
    "BudgetExhausted",
    "CollectionDeleted",
    "ConsentMissing",
    "DatasetError",
    "DecodeError",
    "HpkeConfigRejected",
    "InvalidInput",
    "ModelRejected",
    "NotStored",
    "OpenError",
    "ProofRejected",
    "ProtocolError",
    "ReportRejected",
    "StorageFull",
    "TactfulError",
    "TaskRejected",
    "TransportError",
    "TrustPending",
    "VaultDamaged",
    "VaultError",
    "VaultForeign",
    "WrongKey",
]


class TactfulError(Exception):
    """Anything Tactful refuses; its text is a sentence a person can act on."""


class InvalidInput(TactfulError, ValueError):
    """A value from outside is wrong; the text names the field, what is wrong and the fix."""

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}; {fix}")
        self.field, self.problem, self.fix = field, problem, fix

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, str, str]]:
        """What another process makes it of anew: a pool of workers passes errors on."""
        return type(self), (self.field, self.problem, self.fix)


class DatasetError(InvalidInput):
    """A data folder or file is not what it should be."""


class ConsentMissing(TactfulError):
    """The person has not agreed to this purpose."""

    def __init__(self, purpose: str, reason: str = "UNSET") -> None:
        super().__init__(
            f"consent: no permission for {purpose!r} ({reason}); ask the person, then grant it"
        )
        self.purpose, self.reason = purpose, reason

    def __reduce__(self) -> tuple[type[ConsentMissing], tuple[str, str]]:
        """As InvalidInput does."""
        return type(self), (self.purpose, self.reason)


class VaultError(TactfulError):
    """The vault cannot be read or written."""


class WrongKey(VaultError):
    """The key is not the one that sealed the vault."""


class VaultDamaged(VaultError):
    """A record was changed, moved, cut or replayed."""


class VaultForeign(VaultError):
    """The file is not a vault, or a newer version wrote it."""


class StorageFull(VaultError):
    """The disk refused a write; nothing was half-written."""


class NotStored(VaultError):
    """What the person said could not be stored: it holds in this process, which tries again."""

    @classmethod
    def of(cls, what: str, refused: VaultError) -> NotStored:
        """Return the error for `what`, which the vault refused to store."""
        return cls(
            f"{what}: it could not be stored ({refused}); it holds in this process, and is stored "
            "with the next write or on close"
        )


class BudgetExhausted(TactfulError):
    """The charge would exceed the device's cap; nothing was spent."""


class TrustPending(BudgetExhausted):
    """The ledger may not be whole, after a reinstall or a restored backup; nothing was spent."""


class ProtocolError(TactfulError):
    """The two sides do not agree."""


class DecodeError(ProtocolError):
    """Bytes are not the message they claim to be."""


class OpenError(ProtocolError):
    """A sealed share does not open."""


class ProofRejected(ProtocolError):
    """A report's proof does not hold."""


class TaskRejected(ProtocolError):
    """A task is unsigned, foreign, unsafe or out of its time."""


class HpkeConfigRejected(ProtocolError):
    """An HPKE config is unsigned, foreign, out of its time, or older than one accepted before."""


class ReportRejected(ProtocolError):
    """The aggregator refused a report; `code` is the draft's own reason."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"report: {code}; {detail}")
        self.code, self.detail = code, detail

    def __reduce__(self) -> tuple[type[ReportRejected], tuple[str, str]]:
        """As InvalidInput does."""
        return type(self), (self.code, self.detail)


class CollectionDeleted(ProtocolError):
    """The collection job was deleted before it was answered; the batch can be collected again."""


class TransportError(TactfulError):
    """The aggregator cannot be reached."""


class ModelRejected(TactfulError):
    """A release is unsigned, foreign, stale or rolled back."""


class BatchError(TactfulError):
    """A batch cannot be released."""


class BatchTooSmall(BatchError):
    """The batch holds fewer reports than the task's minimum."""


class BatchCollected(BatchError):
    """The batch was collected before, so a late report cannot join it."""


class BatchMismatch(BatchError):
    """The two halves do not hold the same reports."""
