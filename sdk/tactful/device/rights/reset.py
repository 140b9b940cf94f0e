"""Begin anew where a vault does not open: set it aside, delete nothing, keep what was charged."""

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
class Reset:
    """What a reset did: new names of the old files, and the charges it carried over.

    `complete`: every charge of the old vault could be read. Without that, and in any case where
    no new vault was made, the device waits `trust_days` before it contributes; an anchor of the
    app charges what it knows to have been spent.
    """

    vault: Path
    key: Path | None
    charges: tuple[Charge, ...]
    complete: bool


def reset(path: Path, key_file: Path | None) -> Reset:
    """Set the vault at `path` aside; with `key_file`, make a new key and a new vault.

    Without `key_file` the key is the app's own, and so is making the vault. The marker stays, so
    that the app notices the loss and tightens its limits. Raises InvalidInput if nothing is there.
    """
    if not path.is_file():
        raise InvalidInput("vault", f"{path} is not a file", "name the vault's file")
    charges, complete = (
        ((), False) if key_file is None else _charges(path, KeyFile(key_file))
    )
    marked = marker_path(path).read_bytes() if marker_path(path).is_file() else b""
    now = datetime.fromtimestamp(SystemClock().reading().wall_ms / 1000, UTC)
    label = f"reset-{now:%Y%m%dT%H%M%SZ}"
    vault = set_aside(path, label)
    marker_path(vault).write_bytes(marked)
    key = None
    if key_file is not None:
        key = set_aside(key_file, label) if key_file.is_file() else None
        _begin(path, KeyFile(key_file), charges)
    marker_path(path).write_bytes(
        marked
    )  # of another vault: the app sees that one was lost
    return Reset(vault, key, charges, complete)


def _charges(path: Path, key: KeyFile) -> tuple[tuple[Charge, ...], bool]:
    """Return the charges that can be read, up to the first damage, and whether they are all."""
    charges: list[Charge] = []
    try:
        with Vault.open(path, key) as vault:
            for record in vault.read(0, ["charge"]):
                charges.append(Charge.from_body(record.body))
    except (VaultError, InvalidInput):
        return tuple(charges), False
    return tuple(charges), True


def _begin(path: Path, key: KeyFile, charges: tuple[Charge, ...]) -> None:
    """Make the new vault: it starts with what was spent, and with the waiting for trust."""
    with Vault.open(path, key) as vault, vault.transaction(durable=True) as writing:
        for charge in charges:
            writing.append("charge", charge.body())
        writing.append("restored", {"waited_ms": 0})
