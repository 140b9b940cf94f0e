"""Makes golden-3.db, golden-3.key and golden-3.json in this folder: a vault of format 3, and what
it says.

Run it only for a new format, under a new name: a golden vault never changes.
Nonces are random, so two runs give different bytes that say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tactful.device.caps import CapEngine
from tactful.device.catalog import Item
from tactful.device.device_key import KeyFile
from tactful.device.events import EVIDENCE, KINDS, PURPOSES, StoredEvent
from tactful.device.vault import Vault
from tactful.testing import FIXED_KEY, FrozenClock

NAME = "golden-3"
DAY_MS = 86_400_000
ITEM = Item(
    id="tea",
    title="Tea",
    family="teas",
    campaign="spring",
    category="drinks",
    brand="Leaf",
)


class Gone:
    """Processes of which none is alive, so that a reservation is presumed to have been seen."""

    def me(self, boot_id: str | None) -> object:
        from tactful.device.caps.counting.reservations import Owner

        return Owner(boot_id, 7, 8)

    def alive(self, owner: object, boot_id: str | None) -> bool:
        return False


def make(folder: Path) -> None:
    """Write the three files."""
    key = folder / f"{NAME}.key"
    key.touch(0o600)
    key.write_bytes(FIXED_KEY.key())
    with Vault.open(folder / f"{NAME}.db", KeyFile(key)) as vault:
        _fill(vault)
        described = json.dumps(description(vault), indent=1)
        vault.scrub()
    (folder / f"{NAME}.json").write_text(described + "\n")
    (folder / f"{NAME}.db.mark").unlink()


def _fill(vault: Vault) -> None:
    clock = FrozenClock()
    engine = CapEngine(vault, clock, processes=Gone())
    for ending in ("shown", "released", "presumed", *EVIDENCE):
        item = Item(**{**vars_of(ITEM), "id": f"tea-{ending}", "family": ""})
        [pick] = engine.decide([item], 1, "home").picks
        if ending == "released":
            engine.release(pick.reservation_id)
        elif ending != "presumed":
            level = ending if ending in EVIDENCE else "viewable"
            engine.confirm(pick.reservation_id, level)
    clock.advance(3 * DAY_MS)
    engine.maintenance.expire()
    for number, kind in enumerate(KINDS):
        event = StoredEvent(
            kind=kind,
            at_ms=1_800_000_000_000 + number,
            purpose=PURPOSES[number % len(PURPOSES)],
            item_id=f"item-{number}",
            evidence=EVIDENCE[number % 3] if kind == "impression" else None,
            value=4.5 if kind == "rating" else None,
            scope="category" if kind == "hide" else None,
            surface="home",
        )
        vault.append("event", event.body(), durable=True)


def vars_of(item: Item) -> dict[str, object]:
    """The fields of an item that are worth storing."""
    return {
        name: getattr(item, name) for name in ("title", "campaign", "category", "brand")
    }


def description(vault: Vault) -> Mapping[str, object]:
    """What a vault says: its events, and what became of its reservations."""
    state = CapEngine(
        vault, FrozenClock(), processes=Gone()
    )._core.session.recorded_state()
    shows = {
        hold.reservation_id: [
            list(hold.cap_subject),
            hold.surface,
            hold.level,
            hold.evidence,
            hold.released,
        ]
        for hold in state.holds_by_id.values()
    }
    events = [StoredEvent.from_body(record.body) for record in vault.read(0, ["event"])]
    return {"events": [asdict(event) for event in events], "reservations": shows}


if __name__ == "__main__":
    make(Path(__file__).parent)
