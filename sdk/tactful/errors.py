"""All errors of Tactful, as one tree.

TactfulError
├── InvalidInput              a value from outside is wrong; names field and fix
│   └── DatasetError          a data folder or file is wrong
├── ConsentMissing            the person has not agreed to this purpose
├── VaultError                the vault cannot be read or written
│   ├── WrongKey              the key is not that of the vault
│   ├── VaultDamaged          a record was changed, moved, removed or replayed
│   ├── VaultForeign          the file is not a vault, or of a newer version
│   ├── StorageFull           the disk is full; nothing was partly written
│   └── NotStored             an answer is in force, but not stored yet
├── BudgetExhausted           the charge would exceed a cap; nothing was spent
│   └── TrustPending          the ledger may be incomplete; the device must wait
├── ProtocolError             a message breaks the protocol
│   ├── DecodeError           bytes are not a message of the expected type
│   ├── OpenError             a share cannot be decrypted
│   ├── ProofRejected         the proof of a report is wrong
│   ├── TaskRejected          a task is unsigned, foreign, unsafe or not open
│   ├── HpkeConfigRejected    an HPKE config is unsigned, foreign, expired or old
│   ├── ReportRejected        the aggregator rejected a report, with a reason
│   └── CollectionDeleted     a collection job was deleted before it was answered
├── TransportError            the aggregator cannot be reached
├── ModelRejected             a release is unsigned, foreign, expired or too old
└── BatchError                a batch cannot be released
    ├── BatchTooSmall         it has fewer reports than the task's minimum
    ├── BatchCollected        it was collected before
    └── BatchMismatch         the aggregators have different reports
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
    """Base of all errors; the text says what to do."""


class InvalidInput(TactfulError, ValueError):
    """A value from outside is wrong; the text names the field, the problem and the fix."""

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}; {fix}")
        self.field = field
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, str, str]]:
        """Return how to rebuild the error in another process, such as a pool worker."""
        return type(self), (self.field, self.problem, self.fix)


class DatasetError(InvalidInput):
    """A data folder or file is wrong."""


class ConsentMissing(TactfulError):
    """The person has not agreed to this purpose."""

    def __init__(self, purpose: str, reason: str = "UNSET") -> None:
        super().__init__(
            f"consent: {purpose!r} is not granted ({reason}); ask the person, then grant it"
        )
        self.purpose = purpose
        self.reason = reason

    def __reduce__(self) -> tuple[type[ConsentMissing], tuple[str, str]]:
        """Return how to rebuild the error in another process."""
        return type(self), (self.purpose, self.reason)


class VaultError(TactfulError):
    """The vault cannot be read or written."""


class WrongKey(VaultError):
    """The key is not that of the vault."""


class VaultDamaged(VaultError):
    """A record was changed, moved, removed or replayed."""


class VaultForeign(VaultError):
    """The file is not a vault, or a newer version wrote it."""


class StorageFull(VaultError):
    """The disk is full; nothing was partly written."""


class NotStored(VaultError):
    """An answer of the person is in force in this process, but could not be stored.

    The process tries again with the next write and on close.
    """

    @classmethod
    def of(cls, name: str, vault_error: VaultError) -> NotStored:
        """Return the error for an answer `name` that the vault could not store."""
        return cls(
            f"{name}: it could not be stored ({vault_error}); it is in force in this "
            "process, and is stored with the next write or on close"
        )


class BudgetExhausted(TactfulError):
    """The charge would exceed the device's cap; nothing was spent."""


class TrustPending(BudgetExhausted):
    """The ledger may be incomplete, after a reinstall or a restored backup."""


class ProtocolError(TactfulError):
    """A message breaks the protocol."""


class DecodeError(ProtocolError):
    """Bytes are not a message of the expected type."""


class OpenError(ProtocolError):
    """A share cannot be decrypted."""


class ProofRejected(ProtocolError):
    """The proof of a report is wrong."""


class TaskRejected(ProtocolError):
    """A task is unsigned, foreign, unsafe or not open."""


class HpkeConfigRejected(ProtocolError):
    """An HPKE config is unsigned, foreign, expired, or older than an accepted one."""


class ReportRejected(ProtocolError):
    """The aggregator rejected a report; `code` is the reason in the draft."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"report: {code}; {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[type[ReportRejected], tuple[str, str]]:
        """Return how to rebuild the error in another process."""
        return type(self), (self.code, self.detail)


class CollectionDeleted(ProtocolError):
    """A collection job was deleted before it was answered.

    The batch can be collected again.
    """


class TransportError(TactfulError):
    """The aggregator cannot be reached."""


class ModelRejected(TactfulError):
    """A release is unsigned, foreign, expired or older than an adopted one."""


class BatchError(TactfulError):
    """A batch cannot be released."""


class BatchTooSmall(BatchError):
    """The batch has fewer reports than the task's minimum."""


class BatchCollected(BatchError):
    """The batch was collected before, so a late report cannot join it."""


class BatchMismatch(BatchError):
    """The two aggregators have different reports."""
