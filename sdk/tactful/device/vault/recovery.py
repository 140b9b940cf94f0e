"""Opening a vault that may have suffered: what is damaged is set aside, and the loss is told."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from tactful.device.device_key import KeyProvider
from tactful.device.vault import Vault
from tactful.device.vault.connections import DAMAGE_NOTE, damage_noted
from tactful.errors import VaultDamaged

# The log first: SQLite deletes one that it finds beside a new and empty file.
FILES = ("-wal", "-shm", "", DAMAGE_NOTE)


def opened(path: str | None, key: KeyProvider) -> tuple[Vault, str | None]:
    """The vault at `path`, and what was lost; None if nothing was.

    A damaged file is renamed and kept, and an empty vault takes its place; so is one in which
    damage showed while it was in use. A wrong key and a foreign file are refused as ever: neither
    is damage.
    """
    try:
        vault = _checked(path, key)
    except VaultDamaged as damage:
        if path is None:
            raise
        aside = set_aside(Path(path), "damaged")
        return Vault.open(path, key), f"{damage}; the file is kept as {aside.name}"
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
    aside = next(
        a
        for n in count(1)
        if not (a := path.with_name(f"{path.name}.{reason}-{n}")).exists()
    )
    for ending in FILES:
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    return aside
