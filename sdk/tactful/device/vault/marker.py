"""How far a vault had come, told outside its file: so an older copy, or a lost file, is seen.

Backups should leave it out (`taste.db.mark`). If file and marker are both put back nothing shows.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from tactful.device.device_key import Sealer
from tactful.device.vault.connections import marker_path

MAC_BYTES = 16


class Marker:
    """The newest position that was surely on disk, beside the vault and sealed to it."""

    def __init__(self, vault: Path | None, sealer: Sealer) -> None:
        self._path = None if vault is None else marker_path(vault)
        self._sealer = sealer

    def note(self, position: int) -> None:
        """Remember `position`; a marker that cannot be written is one that a backup left out."""
        if self._path is not None:
            try:
                place = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
                try:
                    os.pwrite(place, self._text(position), 0)
                finally:
                    os.close(place)
            except OSError:
                return

    def read(self) -> bytes | None:
        """What was noted last, None if nothing is there."""
        try:
            return None if self._path is None else self._path.read_bytes()
        except OSError:
            return None

    def misses(self, told: bytes | None, position: int) -> str | None:
        """Why a vault that ends at `position` is not the one that was here; None if it may be."""
        if self._path is None:
            return None
        if told is None:
            return (
                None if position == 0 else "the vault was put back without its marker"
            )
        known = int.from_bytes(told[:8], "big")
        if not hmac.compare_digest(told, self._text(known)):
            return "another vault was here before"
        return "an older copy of the vault was put back" if known > position else None

    def _text(self, position: int) -> bytes:
        mac = self._sealer.blind(f"marker {position}")[:MAC_BYTES]
        return position.to_bytes(8, "big") + mac
