"""Make golden-4.db, golden-4.key and golden-4.json in this folder.

They are a vault of format 4 with a record of every kind, and its content. A golden
vault never changes. For a new format, change the name and run the script again.
Nonces are random, so two runs give different bytes with the same content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

from tactful.device.caps import CapEngine
from tactful.device.caps.counting.reservations import Owner
from tactful.device.catalog import Item
from tactful.device.consent import Consent, ConsentAnswers, ConsentNotice, Occasion
from tactful.device.device_key import KeyFile
from tactful.device.events import EVIDENCE, KINDS, PURPOSES, StoredEvent
from tactful.device.ranking.list_trace import ListTrace
from tactful.device.rights.named_records import named_record
from tactful.device.state.device_state import DeviceState, Disclosure
from tactful.device.state.projection import project
from tactful.device.vault import Vault
from tactful.device.vault.record_schemas import Content
from tactful.privacy.budget import Charge
from tactful.testing import FIXED_KEY, FrozenClock

NAME = "golden-4"
DAY_MS = 86_400_000
NOON = 1_800_000_000  # unix seconds
ATTRIBUTES = {
    "title": "Tea",
    "campaign": "spring",
    "category": "drinks",
    "brand": "Leaf",
}


class EndedProcesses:
    """Processes that all have ended, so that their reservations are presumed shown."""

    def me(self, boot_id: str | None) -> Owner:
        return Owner(boot_id, 7, 8)

    def alive(self, owner: object, boot_id: str | None) -> bool:
        return False


def make(folder: Path) -> None:
    """Write the three files."""
    key = folder / f"{NAME}.key"
    key.touch(0o600)
    key.write_bytes(FIXED_KEY.key())
    with Vault.open(folder / f"{NAME}.db", KeyFile(key)) as vault:
        _append_caps(vault)
        for event in _events():
            vault.append("event", event.to_fields())
        for kind, content in _other_records():
            vault.append(kind, content, durable=True)
        described = json.dumps(description(vault), indent=1, ensure_ascii=False)
        vault.scrub()
    (folder / f"{NAME}.json").write_text(described + "\n")
    (folder / f"{NAME}.db.mark").unlink()


def _append_caps(vault: Vault) -> None:
    """Append the records of frequency caps: old ones compacted, and new ones."""
    clock = FrozenClock()
    engine = CapEngine(vault, clock, processes=EndedProcesses())
    _show(engine, "old")
    clock.advance(500 * DAY_MS)
    engine.maintenance.expire()
    engine.maintenance.compact()
    for name in ("shown", "released", "presumed", *EVIDENCE):
        _show(engine, name)
    clock.advance(3 * DAY_MS)
    engine.maintenance.expire()
    engine.maintenance.start_session()
    engine.blocks.mute("brand", "Leaf")


def _show(engine: CapEngine, name: str) -> None:
    item = Item(id=f"tea-{name}", family="", **ATTRIBUTES)
    [pick] = engine.decide([item], 1, "home").picks
    if name == "released":
        engine.release(pick.reservation_id)
    elif name != "presumed":
        evidence = name if name in EVIDENCE else "viewable"
        engine.confirm(pick.reservation_id, evidence)


def _events() -> list[StoredEvent]:
    """Return one event of each kind."""
    return [
        StoredEvent(
            kind=kind,
            at_ms=1000 * NOON + number,
            purpose=PURPOSES[number % len(PURPOSES)],
            item_id=f"item-{number}",
            evidence=EVIDENCE[number % 3] if kind == "impression" else None,
            value=4.5 if kind == "rating" else None,
            scope="category" if kind == "hide" else None,
            surface="home",
        )
        for number, kind in enumerate(KINDS)
    ]


def _other_records() -> list[tuple[str, Content]]:
    """Return one record of each kind that frequency caps do not write."""
    notice = ConsentNotice(text="May we?", locale="en", method="button")
    occasion = Occasion(shown=notice, at=NOON, policy_version="1")
    answers = ConsentAnswers().changes(
        Consent.to("local_profile"), occasion, asked=True
    )
    disclosure = Disclosure(
        task_id="aa" * 32,
        report_id="bb" * 16,
        purpose="share_dp_updates",
        at=NOON,
        recipient="https://leader.example",
        size=1024,
        sha256="cc" * 32,
        meaning="pairs of items",
        report=1,
        consent=answers[0].record_id,
    )
    charge = Charge(
        task_id=disclosure.task_id,
        purpose="share_dp_updates",
        rho=Fraction(1, 200),
        time=NOON,
        report_id=disclosure.report_id,
    )
    trace = ListTrace(
        decision_id="9",
        at_ms=1000 * NOON,
        surface="home",
        length=2,
        shown=("tea-shown",),
        denied=("item-1",),
    )
    time_anchor = [False, [[0, 0, 60_000]]]
    return [
        *(("consent", answer.body()) for answer in answers),
        ("setting", {"balance": 0.25}),
        ("setting", {"interest": ["category", "drinks", 2.0]}),
        ("setting", {"used_up": ["tea", True]}),
        ("setting", {"paused": True}),
        ("setting", {"limits": '{"rules": []}'}),
        ("setting", {"refreshed": NOON}),
        ("setting", {"noticed": True}),
        ("charge", charge.body()),
        ("report", {"bytes": "AAEC"}),
        ("open_shares", {"leader": "AA==", "helper": "AQ==", "expires": NOON + 60}),
        ("disclosure", disclosure.body()),
        (
            "report_sent",
            {
                "task_id": disclosure.task_id,
                "report_id": disclosure.report_id,
                "time": NOON,
            },
        ),
        ("report_accepted", {"task_id": disclosure.task_id, "at": NOON + 1}),
        ("disclosure", {**disclosure.body(), "task_id": "dd" * 32}),
        ("report_dropped", {"task_id": "dd" * 32, "at": NOON + 2}),
        ("config_epoch", {"key": "AA==", "epoch": 3, "sha256": "ee" * 32}),
        ("quarantine", {"waited_ms": 1}),
        ("ledger_key", {"key": "AA=="}),
        ("model_file", {"bytes": "AAEC"}),
        ("model", {"version": 2, "file": 1, "release": "{}", "checkpoint": ""}),
        ("list_trace", trace.body()),
        ("experiment_unit", {"secret": "ff" * 16, "born": 0}),
        ("assignment", {"experiment": "e", "arm": "a"}),
        ("exposure", {"experiment": "e", "day": 20_000}),
        ("period", {"experiment": "e", "task_id": "aa" * 32}),
        ("waiting", ["", ["tea-shown"], 0, 5]),
        ("loss", [0, 5, "half"]),
        ("time_anchor", time_anchor),
        ("removal", {}),
        ("forgotten", {"newest": 2, "checkpoint": ""}),
    ]


def description(vault: Vault) -> Mapping[str, object]:
    """Return the content of a vault: records, reservations, and the device state."""
    engine = CapEngine(vault, FrozenClock(), processes=EndedProcesses())
    holds = engine._core.session.recorded_state().holds_by_id.values()
    reservations = {
        hold.reservation_id: [
            list(hold.cap_subject),
            hold.surface,
            hold.level,
            hold.evidence,
            hold.released,
        ]
        for hold in holds
    }
    events = [
        asdict(StoredEvent.from_fields(record.fields))
        for record in vault.read(0, ["event"])
    ]
    return {
        "events": events,
        "reservations": reservations,
        "records": [named_record(record) for record in vault.read()],
        "state": _described_state(project(vault, DeviceState())),
    }


def _described_state(state: DeviceState) -> Mapping[str, object]:
    return {
        "granted": sorted(state.consent.granted),
        "balance": state.balance,
        "paused": state.paused,
        "limits": state.limits,
        "refreshed": state.refreshed,
        "noticed": state.noticed,
        "used_up": dict(state.used_up),
        "interests": [[*key, factor] for key, factor in state.interests.items()],
        "newest_version": state.newest_version,
        "restored_ms": state.restored_ms,
        "config_epochs": {
            key: list(epoch) for key, epoch in state.config_epochs.items()
        },
        "spent_rho": str(state.ledger.spent),
        "ledger": list(state.ledger.lines),
        "disclosures": {
            task: [disclosure.accepted, disclosure.dropped]
            for task, disclosure in state.disclosures.items()
        },
        "items_in_profile": sorted(state.profile.beliefs),
    }


if __name__ == "__main__":
    make(Path(__file__).parent)
