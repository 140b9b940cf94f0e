"""The ledger survives erasing, reinstalling, restoring and turned clocks; nothing is refunded."""

import base64
import json
import shutil
from datetime import UTC, datetime

import pytest

from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.rights.ledger_export import SIGNED_AS
from tactful.device.vault.rollback_anchor import RollbackAnchorFile
from tactful.errors import BudgetExhausted, TransportError, TrustPending, VaultDamaged
from tactful.privacy.budget import chain
from tactful.protocol.signed_json import is_signed
from tactful.protocol.transport import Request, Response
from tactful.testing import FIXED_KEY, FrozenClock, small_catalog

DAY_MS = 86_400_000


@pytest.fixture
def opened(town):
    """A town with a round open."""
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    return town


def now() -> FrozenClock:
    return FrozenClock(datetime.now(UTC))


def device(
    town, rollback_anchor=None, clock=None, transport=None, **changes
) -> Personalizer:
    consent = Consent.to("local_profile", "local_personalization", "share_dp_updates")
    return Personalizer(
        small_catalog(),
        town.settings(0, **changes),
        key=FIXED_KEY,
        consent=consent,
        clock=clock or now(),
        transport=transport,
        rollback_anchor=rollback_anchor,
    )


def states(me) -> list[str]:
    return [json.loads(text)["state"] for text in me.status.ledger.lines]


def test_charged_sent_acknowledged_are_entries_of_one_chain(opened) -> None:
    with device(opened) as me:
        me.sharing.contribute()
        me.sharing.contribute()

        assert states(me) == ["charged", "sent", "acknowledged"]
        me.status.ledger.verify(me.status.ledger.hashes[0])


def test_a_failed_upload_is_charged_once_and_tried_again_with_the_same_bytes(
    opened, wire
) -> None:
    seen = wire()
    real = seen.answer

    def cut(request: Request) -> Response:
        if request.url.endswith("/reports"):
            raise TransportError("cut")
        return real(request)

    seen.answer = cut
    with device(opened, transport=seen) as me:
        for _ in range(2):
            with pytest.raises(TransportError):
                me.sharing.contribute()
        assert states(me) == ["charged", "sent"]
        seen.answer = real
        me.sharing.contribute()

        assert states(me) == ["charged", "sent", "acknowledged"]
    assert len(set(seen.uploads)) == 1


def test_when_the_first_byte_leaves_charge_and_step_are_on_the_disk(
    opened, wire
) -> None:
    """The removal test of `spend, record, send`: another process sees both at that moment."""
    seen, found = wire(), []
    real = seen.answer

    def look(request: Request) -> Response:
        if request.url.endswith("/reports"):
            shutil.copytree(opened.folder, opened.folder / "copy")
            copy = opened.settings(0, path=str(opened.folder / "copy" / "0.db"))
            with Personalizer(me.catalog, copy, key=FIXED_KEY, consent=None) as other:
                found.extend(states(other))
        return real(request)

    seen.answer = look
    with device(opened, transport=seen) as me:
        me.sharing.contribute()
    assert found == ["charged", "sent"]


def test_erasing_refunds_nothing(opened) -> None:
    with device(opened) as me:
        me.sharing.contribute()
        before = me.status.ledger
        me.rights.forget()

        assert me.status.ledger.entries == before.entries
        assert me.status.ledger.spent > 0


def test_a_restored_backup_is_found_and_refunds_nothing(opened, tmp_path) -> None:
    anchor = RollbackAnchorFile(tmp_path / "anchor")
    with device(opened, anchor) as me:
        me.sharing.contribute()
        spent = me.status.ledger.spent
        taken = [(file, file.read_bytes()) for file in opened.folder.glob("0.db*")]
    later = json.loads((tmp_path / "anchor").read_text())
    later |= {"entries": later["entries"] + 3, "head": "ab" * 32, "rho": f"{3 * spent}"}
    (tmp_path / "anchor").write_text(json.dumps(later))  # as after two more rounds
    for file, content in taken:
        file.write_bytes(content)
    with device(opened, anchor, trust_days=7) as me:
        with pytest.raises(TrustPending):
            me.sharing.contribute()
        assert me.status.ledger.spent == 3 * spent


def test_an_older_copy_that_the_vault_itself_notices_waits_again(opened) -> None:
    clock = now()
    with device(opened, clock=clock, trust_days=7) as me:
        with pytest.raises(TrustPending):
            me.sharing.contribute()
        taken = [
            (f, f.read_bytes())
            for f in opened.folder.glob("0.db*")
            if "mark" not in f.name
        ]
        me.observe(Event(kind="like", item_id="item-3"))
        clock.advance(7 * DAY_MS)
        clock.push_wall(-7 * DAY_MS)
    for file, content in taken:
        file.write_bytes(content)
    with device(opened, clock=clock, trust_days=7) as me:
        assert me.state_lost is not None
        with pytest.raises(TrustPending, match="more days of running"):
            me.sharing.contribute()


def test_an_anchor_that_cannot_be_read_is_named(opened, tmp_path) -> None:
    (tmp_path / "anchor").write_text("{}")

    with (
        device(opened, RollbackAnchorFile(tmp_path / "anchor")) as me,
        pytest.raises(VaultDamaged),
    ):
        me.sharing.contribute()


def test_charges_are_dated_by_a_clock_nobody_can_turn(opened) -> None:
    clock = now()
    with device(opened, clock=clock) as me:
        me.recommend(1)
        first = clock.wall_ms // 1000
        clock.advance(60_000)
        clock.push_wall(100_000)
        me.sharing.contribute()

        assert me.status.ledger.charges[0].time == first + 60
        assert me.sharing.lifetime().year.charges == 1


def test_a_cap_of_a_purpose_stops_only_that_purpose(opened) -> None:
    with device(opened, purpose_epsilon={"share_dp_updates": 0.0}) as me:
        with pytest.raises(BudgetExhausted, match="budget for share_dp_updates"):
            me.sharing.contribute()
        assert me.status.ledger.spent == 0


def test_the_evidence_is_signed_and_says_nothing_of_the_person(opened) -> None:
    with device(opened) as me:
        me.observe(Event(kind="like", item_id="item-3"))
        me.sharing.contribute()
        evidence = me.sharing.ledger_evidence()
        again = me.sharing.ledger_evidence()
    document = str(evidence["document"]).encode()
    key, signature = (
        base64.b64decode(str(evidence[n])) for n in ("public_key", "signature")
    )

    assert is_signed(SIGNED_AS + document, signature, key)
    assert not is_signed(SIGNED_AS + document + b" ", signature, key)
    assert again["public_key"] == evidence["public_key"]
    assert b"item-3" not in document
    body = json.loads(document)
    assert [json.loads(text)["state"] for text in body["entries"]] == [
        "charged",
        "sent",
        "acknowledged",
    ]
    assert chain(body["entries"])[-1] == body["head"]
