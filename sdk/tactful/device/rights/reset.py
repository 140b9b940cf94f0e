"""Reset of a vault that cannot be opened: set it aside and carry its charges over.

Nothing is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tactful.device.clock import SystemClock
from tactful.device.device_key import KeyFile
from tactful.device.vault import Vault
from tactful.device.vault.connections import marker_path
from tactful.device.vault.recovery import set_aside
from tactful.errors import InvalidInput, VaultError
from tactful.privacy.budget import Charge


@dataclass(frozen=True)
class ResetResult:
    """The new names of the old files, and the charges that were carried over.

    `complete` is True if every charge of the old vault could be read. Otherwise, and if
    no new vault was made, the device waits `trust_days` before it contributes; a
    rollback anchor of the app charges what it knows to have been spent.
    """

    vault: Path
    key: Path | None
    charges: tuple[Charge, ...]
    complete: bool


def reset(path: Path, key_file: Path | None) -> ResetResult:
    """Set the vault at `path` aside; with `key_file`, make a new key and vault.

    Without `key_file`, the app has its own key and makes the vault. The marker beside
    the vault stays, so that the app detects the loss and tightens its frequency caps.
    Raise InvalidInput if there is no vault.
    """
    if not path.is_file():
        raise InvalidInput(
            "vault", f"{path} is not a file", "name the file of the vault"
        )
    charges: tuple[Charge, ...] = ()
    complete = False
    if key_file is not None:
        charges, complete = _read_charges(path, KeyFile(key_file))
    marker = marker_path(path)
    marker_content = marker.read_bytes() if marker.is_file() else b""
    now = datetime.fromtimestamp(SystemClock().reading().wall_ms / 1000, UTC)
    label = f"reset-{now:%Y%m%dT%H%M%SZ}"
    old_vault = set_aside(path, label)
    marker_path(old_vault).write_bytes(marker_content)
    old_key = None
    if key_file is not None:
        old_key = set_aside(key_file, label) if key_file.is_file() else None
        _create(path, KeyFile(key_file), charges)
    # The marker of the old vault does not match the new one: the app sees the loss.
    marker_path(path).write_bytes(marker_content)
    return ResetResult(old_vault, old_key, charges, complete)


def _read_charges(path: Path, key: KeyFile) -> tuple[tuple[Charge, ...], bool]:
    """Return the charges before the first damaged record, and True if these are all."""
    charges: list[Charge] = []
    try:
        with Vault.open(path, key) as vault:
            for record in vault.read(0, ["charge"]):
                charges.append(Charge.from_body(record.body))
    except (VaultError, InvalidInput):
        return tuple(charges), False
    return tuple(charges), True


def _create(path: Path, key: KeyFile, charges: tuple[Charge, ...]) -> None:
    """Create the new vault with the old charges and a new waiting period."""
    with Vault.open(path, key) as vault, vault.transaction(durable=True) as transaction:
        for charge in charges:
            transaction.append("charge", charge.body())
        transaction.append("quarantine", {"waited_ms": 0})
