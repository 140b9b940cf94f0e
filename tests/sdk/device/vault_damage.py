"""Flips one byte in the files of a vault, and says what the app makes of it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tactful.device.device_key import KeyFile
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.rights.erasure import ErasureScope
from tactful.device.settings import Settings
from tactful.errors import TactfulError
from tactful.testing import LOCAL, FrozenClock, small_catalog

FILES = ("taste.db", "taste.db-wal", "taste.db.mark", "taste.key")
CATALOG = small_catalog(6)
WAYS_OUT = ("tactful reset", "32 bytes", "others may read it")


def opened(folder: Path) -> Personalizer:
    """Open the device in `folder` as its app does."""
    key = KeyFile(folder / "taste.key")
    settings = Settings(path=str(folder / "taste.db"))
    return Personalizer(CATALOG, settings, key=key, consent=LOCAL, clock=FrozenClock())


def used(folder: Path) -> None:
    """Leave a vault with records of most kinds in `folder`, its log not yet written back."""
    live = folder / "live"
    live.mkdir(parents=True)
    with opened(live) as device:
        for number in range(6):
            device.observe(Event(kind="like", item_id=f"item-{number}"))
        device.rights.erase(ErasureScope(items=["item-1"]))
        device.controls.mute("item", "item-2")
    with opened(live) as device:
        for pick in device.recommend(3):
            device.observe(pick.impression())
        for name in FILES:
            shutil.copy(live / name, folder / name)
    shutil.rmtree(live)


def places(folder: Path, share: float, seed: int = 1) -> list[tuple[str, int, int]]:
    """Return (file, offset, mask) of a seeded share of all bytes; each mask flips some bits."""
    coins = random.Random(seed)
    every = [
        (name, at) for name in FILES for at in range((folder / name).stat().st_size)
    ]
    few = coins.sample(every, round(len(every) * share))
    return [
        (name, at, coins.choice((1, 2, 4, 8, 16, 32, 64, 128, 255))) for name, at in few
    ]


def flipped(intact: Path, scratch: Path, name: str, at: int, mask: int) -> Path:
    """Return a copy of the vault in which one byte of the file `name` is changed."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(intact, scratch)
    content = bytearray((scratch / name).read_bytes())
    content[at] ^= mask
    (scratch / name).write_bytes(content)
    return scratch


def use(folder: Path) -> TactfulError | None:
    """Open, observe, recommend and close; return the typed error that ended it, if one did."""
    try:
        with opened(folder) as device:
            device.observe(Event(kind="like", item_id="item-3"))
            for pick in device.recommend(2):
                device.observe(pick.impression())
            _ = device.status
    except TactfulError as refused:
        return refused
    return None


def fault_of(folder: Path) -> str | None:
    """Say what is wrong with how the app deals with `folder`; None if it is as it should be.

    The app may end with a typed error once; then it starts, or the error names a way out.
    """
    try:
        first = use(folder)
        again = None if first is None else use(folder)
    except Exception as untyped:
        return f"{type(untyped).__name__}: {untyped}"
    if again is not None and not any(way in str(again) for way in WAYS_OUT):
        return f"every start ends with {type(again).__name__}: {again}"
    return None
