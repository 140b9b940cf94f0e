"""The person's book: complete, in order, bounded, and without what was erased."""

import json
from collections import Counter

import pytest

from tactful.device.consent import PURPOSES, Consent
from tactful.device.events import KINDS, Event
from tactful.device.personalizer import Personalizer
from tactful.device.rights.data_report import MAX_ENTRIES, data_report
from tactful.device.rights.erasure import ErasureScope
from tactful.device.settings import Settings
from tactful.device.vault.record_schemas import SCHEMAS
from tactful.protocol.documents.experiment import SLOTS, Arm, Experiment, Metric
from tactful.testing import FIXED_KEY, FrozenClock, small_catalog

DAY_MS = 86_400_000
EXPERIMENT = Experiment(
    id="variety",
    layer="ranking",
    first=0,
    slots=SLOTS,
    opens=0,
    closes=2**40,
    days=7,
    arms=(
        Arm(name="as it is", share="1/2"),
        Arm(name="varied", share="1/2", diversity=0.6),
    ),
    metrics=(Metric(name="clicks", counts="click", low=0, high=20, effect=0.5),),
)


@pytest.fixture
def device():
    """Some days of a person who agreed to everything that stays here."""
    clock = FrozenClock()
    agreed = Consent.to("local_profile", "local_personalization", "diagnostics")
    choices = {"key": FIXED_KEY, "consent": agreed, "clock": clock}
    with Personalizer(small_catalog(6), Settings(path=None), **choices) as made:
        for number in range(3):
            made.observe(Event(kind="like", item_id=f"item-{number}"))
            for pick in made.recommend(2):
                made.observe(pick.impression())
            clock.advance(DAY_MS)
        made.controls.set_balance(0.5)
        yield made


def test_every_kind_of_thing_has_its_lines(device) -> None:
    kinds = Counter(entry.kind for entry in device.rights.data_report())

    assert kinds["recorded"] == 3
    assert kinds["shown"] == 6
    assert kinds["inferred"] == 3
    assert kinds["answered"] == 3
    assert kinds["listed"] == 3
    assert kinds["set"] == 1


def test_a_line_says_what_it_was_declared_as_and_how_long_it_is_kept(device) -> None:
    line = next(
        entry for entry in device.rights.data_report() if entry.kind == "recorded"
    )

    declared = device.event_schema.find("like")
    assert line.what["item_id"] == "item-0"
    assert line.what["purpose"] == "local_profile"
    assert line.what["sensitivity"] == declared.sensitivity
    assert line.what["kept_days"] == declared.retention_days


def test_what_was_inferred_names_the_events_behind_it(device) -> None:
    line = next(
        entry for entry in device.rights.data_report() if entry.kind == "inferred"
    )

    assert line.what["events"] == 1
    assert [kind for kind, _ in line.what["from"]] == ["like"]


def test_the_lines_are_in_order_of_time(device) -> None:
    times = [entry.at for entry in device.rights.data_report() if entry.at is not None]

    assert times == sorted(times)


def test_it_is_bounded_and_keeps_the_newest(device) -> None:
    records, memory = device._core.vault.read(), device.status
    book = data_report(records, memory, device.event_schema, delta=1e-6, most=2)

    shown = [entry for entry in book if entry.kind == "shown"]
    everything = [
        entry for entry in device.rights.data_report() if entry.kind == "shown"
    ]
    assert shown == everything[-2:]


def test_what_was_erased_is_not_in_it(device) -> None:
    assert "item-1" in str(device.rights.data_report())
    device.rights.erase(ErasureScope(items=frozenset({"item-1"})))

    assert "item-1" not in str(device.rights.data_report())


def test_every_purpose_that_was_answered_is_there(device) -> None:
    device.agree(Consent())
    answered = [
        entry for entry in device.rights.data_report() if entry.kind == "answered"
    ]

    assert {entry.what["purpose"] for entry in answered} <= set(PURPOSES)
    states = [entry.what["state"] for entry in answered]
    assert states.count("withdrawn") == 3
    assert set(states) == {"granted", "withdrawn", "denied"}


def test_what_is_taken_along_can_be_read_by_names(device, tmp_path) -> None:
    for kind in sorted(set(KINDS) - {"impression", "search", "rating"}):
        device.observe(Event(kind=kind, item_id="item-5"))
    device.observe(Event(kind="rating", item_id="item-5", value=4))
    device.observe(Event(kind="search", item_id="item-5"))

    export = json.loads(json.dumps(device.rights.export()))

    told = {
        line["what"]["signal"]
        for line in export["data_report"]
        if line["kind"] in ("recorded", "shown")
    }
    assert told == {signal.name for signal in device.event_schema}
    assert len([line for line in export["data_report"] if line["kind"] == "shown"]) == 6
    assert len(export["records"]) == device.status.position


def test_what_is_taken_along_is_whole_however_long(device) -> None:
    for _ in range(MAX_ENTRIES + 5):
        device.observe(Event(kind="view", item_id="item-1"))

    entries = device.rights.export()["data_report"]

    assert (
        sum(line["what"].get("signal") == "view" for line in entries) == MAX_ENTRIES + 5
    )


def test_the_secrets_of_a_vault_are_not_taken_along(device) -> None:
    device.agree(Consent.to("experiments"))
    device.experiments.variant(EXPERIMENT)
    device.sharing.ledger_evidence()
    device._core.vault.append(
        "open_shares", {"leader": "b3Bl", "helper": "bi1z", "expires": 1}
    )
    withheld = {schema.kind: schema.withheld for schema in SCHEMAS if schema.withheld}
    stored = {r.kind: r.body for r in device._core.vault.read(0, list(withheld))}

    export = json.dumps(device.rights.export())

    assert set(stored) == set(withheld)
    for kind, names in withheld.items():
        for name in names:
            assert str(stored[kind][name]) not in export
