"""A marker file beside the vault that holds its newest durable position.

It reveals an older copy of the vault, or a lost file. Backups should leave it out
(`taste.db.mark`): if vault and marker are both restored, nothing is detected.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from tactful.device.device_key import Sealer
from tactful.device.vault.connections import marker_path

MAC_BYTES = 16


class Marker:
    """The newest position that is durable, authenticated by the vault's key."""

    def __init__(self, vault: Path | None, sealer: Sealer) -> None:
        self._path = None if vault is None else marker_path(vault)
        self._sealer = sealer

    def note(self, position: int) -> None:
        """Store `position`; a failure is ignored, as if a backup had left it out."""
        if self._path is None:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(descriptor, self._content(position), 0)
            finally:
                os.close(descriptor)
        except OSError:
            return

    def read(self) -> bytes | None:
        """Return the stored content, None if there is none."""
        try:
            return None if self._path is None else self._path.read_bytes()
        except OSError:
            return None

    def mismatch(self, stored: bytes | None, position: int) -> str | None:
        """Return why a vault that ends at `position` contradicts the marker."""
        if self._path is None:
            return None
        if stored is None:
            if position == 0:
                return None
            return "the vault was put back without its marker"
        marked_position = int.from_bytes(stored[:8], "big")
        if not hmac.compare_digest(stored, self._content(marked_position)):
            return "another vault was here before"
        if marked_position > position:
            return "an older copy of the vault was put back"
        return None

    def _content(self, position: int) -> bytes:
        mac = self._sealer.blind(f"marker {position}")[:MAC_BYTES]
        return position.to_bytes(8, "big") + mac
