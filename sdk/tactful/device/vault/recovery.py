"""Opening a vault that may have suffered: what is damaged is set aside, and the loss is told."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from tactful.device.device_key import KeyProvider
from tactful.device.vault import Vault
from tactful.errors import VaultDamaged

FILES = ("", "-wal", "-shm")


def opened(path: str | None, key: KeyProvider) -> tuple[Vault, str | None]:
    """The vault at `path`, and what was lost; None if nothing was.

    A damaged file is renamed and kept, and an empty vault takes its place. A wrong key and a
    foreign file are refused as ever: neither is damage.
    """
    try:
        vault = Vault.open(path, key)
        vault.check()
    except VaultDamaged as damage:
        if path is None:
            raise
        aside = _set_aside(Path(path))
        return Vault.open(path, key), f"{damage}; the file is kept as {aside.name}"
    return vault, vault.missing


def _set_aside(path: Path) -> Path:
    aside = next(
        a for n in count(1) if not (a := path.with_name(f"{path.name}.damaged-{n}")).exists()
    )
    for ending in FILES:
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    return aside
