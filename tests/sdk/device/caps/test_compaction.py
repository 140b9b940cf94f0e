"""Old shows become totals: no answer changes, and the vault gets small."""

from pathlib import Path

import pytest
from cap_device import DAY, HOUR, ITEMS, Device, rules, sliding

from tactful.device.caps import CapEngine, compaction
from tactful.device.caps.compaction import FACT_HORIZON_MS
from tactful.device.clock import ManualClock
from tactful.device.device_key import HostKey
from tactful.device.events import Event
from tactful.device.vault import Vault

LIFE = rules(
    sliding(DAY, 3),
    {"window": {"kind": "lifetime"}, "limit": 500},
    {"window": {"kind": "decay", "half_life_ms": 30 * DAY, "budget": 400.0}},
    {"window": {"kind": "calendar", "unit": "month"}, "limit": 90},
)


def lived(device: Device, days: int) -> None:
    for _ in range(days):
        device.decide("home", k=2)
        device.show_all()
        device.names.clear()
        device.wait(DAY)


@pytest.fixture
def device() -> Device:
    """A device of 150 days, each with two shows."""
    made = Device(LIFE)
    lived(made, 150)
    return made


def kinds(device: Device) -> list[str]:
    return [record.kind for record in device.vault.read()]


def test_no_answer_changes(device: Device) -> None:
    before = device.answers()
    assert device.engine.maintenance.compact() > 100

    for old, new in zip(before, device.answers(), strict=True):
        if old[0] == "r2":  # fatigue: a day counts as if at its end
            assert old[1] <= new[1] <= old[1] * 2 ** (1 / 30)
        else:
            assert new == old


def test_a_lifetime_is_counted_on_to_the_show(device: Device) -> None:
    used = {
        room.rule_id: room.used
        for room in device.engine.explanations.headroom(ITEMS[0], "home")
    }
    device.engine.maintenance.compact()
    device.die()

    again = {
        room.rule_id: room.used
        for room in device.engine.explanations.headroom(ITEMS[0], "home")
    }
    assert again["r1"] == used["r1"] == 150


def test_without_totals_it_would_be_forgotten(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "_total_key", lambda *_: None)
    monkeypatch.setattr(
        compaction, "_total_row", lambda *_: [0, "home", "", 0, 0, 0, 0, 0, 0]
    )
    device.engine.maintenance.compact()

    assert {
        room.used for room in device.engine.explanations.headroom(ITEMS[0], "home")
    } != {150}
    room = next(
        r
        for r in device.engine.explanations.headroom(ITEMS[0], "home")
        if r.rule_id == "r1"
    )
    assert room.used < 150


def test_only_what_is_older_than_the_horizon_goes(device: Device) -> None:
    device.engine.maintenance.compact()

    left = kinds(device)
    assert left.count("daily_totals") == 1
    assert (
        FACT_HORIZON_MS // DAY <= left.count("decision") <= FACT_HORIZON_MS // DAY + 1
    )
    assert device.engine.maintenance.compact() == 0


def test_a_longer_window_keeps_more() -> None:
    made = Device(rules(sliding(140 * DAY, 1000)))
    lived(made, 150)
    made.engine.maintenance.compact()

    assert kinds(made).count("decision") >= 147


def test_what_was_reported_stays_hidden(device: Device) -> None:
    made = Device(LIFE)
    decision = made.decide("home")
    made.show_all()
    reservation = decision.picks[0].reservation_id
    made.engine.interact(Event(kind="report", reservation_id=reservation))
    lived(made, 150)
    made.engine.maintenance.compact()
    made.die()

    denials = made.engine.explanations.why_not(decision.picks[0].item, "home")
    assert denials[0].reason_code == "REPORTED"


def test_the_file_gets_smaller(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "caps.db"
    with Vault.open(path, HostKey(b"k" * 32)) as vault:
        engine = CapEngine(vault, clock, LIFE, durable=False)
        for _ in range(400):
            for pick in engine.decide(ITEMS, 3, "home").picks:
                engine.confirm(pick.reservation_id)
            clock.advance(12 * HOUR)
        vault.scrub()
        before = path.stat().st_size
        engine.maintenance.compact()

        assert path.stat().st_size < 0.7 * before
