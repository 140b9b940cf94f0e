"""Something outside the vault that remembers how far the ledger had come: no backup holds it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from tactful.errors import VaultDamaged
from tactful.privacy.mechanism import written


@dataclass(frozen=True, kw_only=True)
class HighWaterMark:
    """How far the ledger of `vault` had come: `entries`, the `head` after them, and `rho`."""

    vault: str
    entries: int
    head: str
    rho: str

    @classmethod
    def of(cls, vault: str, entries: int, head: str, spent: Fraction) -> HighWaterMark:
        """The mark of a ledger."""
        return cls(vault=vault, entries=entries, head=head, rho=written(spent))


class RollbackAnchor(Protocol):
    """Whatever keeps one mark where a backup of the vault does not reach."""

    def read(self) -> HighWaterMark | None:
        """The mark that was kept last; None if there was never one."""

    def write(self, mark: HighWaterMark) -> None:
        """Keep `mark`, on the disk by the time this returns."""


@dataclass(frozen=True)
class RollbackAnchorFile:
    """A mark in a file of its own: put it where the system keeps no backup (Android:
    `no_backup`; iOS: excluded from backup, or a keychain item of this device only).
    """

    path: str | Path

    def read(self) -> HighWaterMark | None:
        """The file's mark; raises VaultDamaged if it is none."""
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
        """Replace the file whole."""
        path = Path(self.path)
        fresh = path.with_name(f"{path.name}.new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(mark), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
