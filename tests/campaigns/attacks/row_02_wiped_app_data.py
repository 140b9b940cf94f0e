"""Somebody wipes the app's data again and again, and hopes for many reports of one device."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sharing_device import SharingTown, sharing_town

from tactful.device.settings import Settings
from tactful.device.vault.rollback_anchor import RollbackAnchorFile
from tactful.errors import InvalidInput, TrustPending
from tactful.testing import FrozenClock

TITLE = "App data wiped again and again"
WIPES, WEEK_MS = 6, 7 * 86_400_000


def attack(folder: Path) -> str | None:
    """Wipe vault and anchor before each contribution; then also let each new vault wait."""
    with sharing_town(folder) as town:
        town.opened("shop", epsilon=1.0, seconds=60 * 86_400)
        for waited in (False, True):
            for _ in range(WIPES):
                _contribute(town, waited)
        sent = len(town.relay.uploads)
    if sent > 1:
        return f"{sent} reports of one device in one round, with a cap for one"
    return "an app that leaves the waiting out" if _may_not_wait() else None


def _may_not_wait() -> bool:
    try:
        return Settings(path=None, trust_days=0).trust_days == 0
    except InvalidInput:
        return False


def _contribute(town: SharingTown, waited: bool) -> None:
    anchor, clock = (
        RollbackAnchorFile(town.folder / "anchor"),
        FrozenClock(datetime.now(UTC)),
    )
    for file in (*town.folder.glob("phone.db*"), town.folder / "anchor"):
        file.unlink(missing_ok=True)
    arguments = {
        "kind": Settings,
        "anchor": anchor,
        "clock": clock,
        "lifetime_epsilon": 1.01,
    }
    with town.device("phone", "shop", **arguments) as device:
        with suppress(TrustPending):
            device.sharing.contribute()
        if waited:
            clock.advance(WEEK_MS)
            with suppress(TrustPending):
                device.sharing.contribute()
