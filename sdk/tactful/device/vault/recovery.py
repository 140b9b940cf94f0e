"""Recovery: a damaged vault is renamed and replaced by an empty one."""

from __future__ import annotations

from pathlib import Path

from tactful.device.device_key import KeyProvider
from tactful.device.vault import Vault
from tactful.device.vault.connections import DAMAGE_NOTE, damage_noted
from tactful.errors import VaultDamaged

# The log first: SQLite deletes one that it finds beside a new and empty file.
FILES = ("-wal", "-shm", "", DAMAGE_NOTE)


def opened(path: str | None, key: KeyProvider) -> tuple[Vault, str | None]:
    """Return the vault at `path`, and a description of what was lost, or None.

    A damaged file is renamed and kept, and an empty vault takes its place. The same
    happens if damage was found while the vault was last in use. A wrong key and a
    foreign file are no damage: they raise as `Vault.open` does.
    """
    try:
        vault = _checked(path, key)
    except VaultDamaged as damage:
        if path is None:
            raise
        renamed = set_aside(Path(path), "damaged")
        return Vault.open(path, key), f"{damage}; the file is kept as {renamed.name}"
    return vault, vault.missing


def _checked(path: str | None, key: KeyProvider) -> Vault:
    vault = Vault.open(path, key)
    try:
        if path is not None and damage_noted(Path(path)):
            raise VaultDamaged("vault: records were damaged when it was used last")
        vault.check()
    except BaseException:
        vault.close()  # before its files are renamed: see Vault
        raise
    return vault


def set_aside(path: Path, reason: str) -> Path:
    """Rename every file of the vault at `path` but its marker; return the new name."""
    new_path = _free_path(path, reason)
    for ending in FILES:
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(new_path.with_name(new_path.name + ending))
    return new_path


def _free_path(path: Path, reason: str) -> Path:
    """Return the first unused name for a vault that is set aside."""
    number = 1
    while True:
        candidate = path.with_name(f"{path.name}.{reason}-{number}")
        if not candidate.exists():
            return candidate
        number += 1
