"""Rollback anchors: the ledger's newest state, stored where no backup reaches."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from tactful.errors import VaultDamaged
from tactful.privacy.mechanism import format_fraction


@dataclass(frozen=True, kw_only=True)
class HighWaterMark:
    """The newest state of a ledger: vault, number of entries, head and spent rho."""

    vault: str
    entries: int
    head: str
    rho: str

    @classmethod
    def of(cls, vault: str, entries: int, head: str, spent: Fraction) -> HighWaterMark:
        """Return the mark of a ledger that spent the rho `spent`."""
        return cls(vault=vault, entries=entries, head=head, rho=format_fraction(spent))


class RollbackAnchor(Protocol):
    """A store for one mark that no backup of the vault includes."""

    def read(self) -> HighWaterMark | None:
        """Return the mark that was stored last, None if there is none."""

    def write(self, mark: HighWaterMark) -> None:
        """Store `mark` durably before returning."""


@dataclass(frozen=True)
class RollbackAnchorFile:
    """A mark in its own file.

    Put the file where the system makes no backup (Android: `no_backup`; iOS: excluded
    from backup, or a keychain item of this device only).
    """

    path: str | Path

    def read(self) -> HighWaterMark | None:
        """Return the mark in the file; raise VaultDamaged if it cannot be read."""
        path = Path(self.path)
        if not path.exists():
            return None
        try:
            body = json.loads(path.read_text())
            mark = HighWaterMark(**body)
            if not (isinstance(mark.entries, int) and Fraction(str(mark.rho)) >= 0):
                raise ValueError("not a mark")
        except (OSError, ValueError, TypeError, ZeroDivisionError) as wrong:
            raise VaultDamaged(
                f"anchor {path}: it cannot be read; remove it and wait"
            ) from wrong
        return mark

    def write(self, mark: HighWaterMark) -> None:
        """Write a new file, then rename it over the old one."""
        path = Path(self.path)
        draft = path.with_name(f"{path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(mark), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
