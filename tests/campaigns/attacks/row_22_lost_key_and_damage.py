"""Someone deletes the key file or flips single bytes: the app shall never start again."""

from pathlib import Path

from vault_damage import fault_of, flipped, opened, places, used

from tactful.cli import main
from tactful.errors import WrongKey

TITLE = "Lost key and single flipped bytes"
SHARE = 0.001  # of all bytes, beside every other byte of the header


def attack(folder: Path) -> str | None:
    """Delete the key, then flip bytes one by one; say which start could not be recovered."""
    intact = folder / "intact"
    used(intact)
    return _lost_key(flipped(intact, folder / "copy", "taste.db", 0, 0)) or _damage(
        intact, folder
    )


def _lost_key(folder: Path) -> str | None:
    key = folder / "taste.key"
    key.unlink()
    try:
        opened(folder).close()
        return "a vault opened without its key"
    except WrongKey as refused:
        message = str(refused)
    if key.exists():
        return "a second key was made beside the vault"
    if "tactful reset" not in message:
        return f"the error names no way out: {message}"
    if main(["reset", str(folder / "taste.db"), "--key-file", str(key), "--yes"]) != 0:
        return "tactful reset failed"
    opened(folder).close()
    return None


def _damage(intact: Path, folder: Path) -> str | None:
    header = [("taste.db", at, 1 << at % 8) for at in range(0, 100, 2)]
    every = [*header, *places(intact, SHARE)]
    faults = [
        f"{place[0]}+{place[1]}: {fault}"
        for place in every
        if (fault := fault_of(flipped(intact, folder / "copy", *place)))
    ]
    if faults:
        return f"{len(faults)} of {len(every)} flips were not recovered from; first: {faults[0]}"
    return None
