"""A list is on the screen while the person answers, or erases: nothing breaks, nothing is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from tactful.cli import main
from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.rights.erasure import ErasureScope
from tactful.device.settings import Settings
from tactful.errors import InvalidInput
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog, small_device

ONCE: dict[str, object] = {
    "schema": 1,
    "rules": [
        {
            "id": "once",
            "key": ["item"],
            "window": {"kind": "lifetime"},
            "limit": 1,
            "reason_code": "ONCE",
        }
    ],
}


def opened(
    path: Path, consent: Consent | None = None, clock: FrozenClock | None = None
) -> Personalizer:
    settings = Settings(path=str(path), caps=ONCE)
    clock = clock or FrozenClock()
    return Personalizer(
        small_catalog(6), settings, key=FIXED_KEY, consent=consent, clock=clock
    )


def ids(device: Personalizer, n: int = 6) -> set[str]:
    return {pick.item.id for pick in device.recommend(n)}


@pytest.mark.parametrize("answer", [LOCAL, Consent()])
def test_what_was_shown_before_the_answer_counts_after_it(
    tmp_path: Path, answer: Consent
) -> None:
    with opened(tmp_path / "v") as me:
        seen, drawn, dropped = me.recommend(3)
        me.observe(seen.impression())
        me.observe(Event(kind="hide", item_id="item-5"))
        assert me.rights.export()["records"] == []

        me.agree(answer)
        me.observe(seen.impression("attended"))
        me.observe(drawn.impression())
        me.release(dropped)
        me.observe(Event(kind="dismiss", reservation_id=drawn.reservation_id))

        held = {seen.item.id, drawn.item.id, "item-5"}
        assert ids(me) == {f"item-{n}" for n in range(6)} - held
    with opened(tmp_path / "v") as again:
        assert not ids(again) & held


def test_an_answer_given_in_another_process_is_heard(tmp_path: Path) -> None:
    clock = FrozenClock()
    with (
        opened(tmp_path / "v", clock=clock) as app,
        opened(tmp_path / "v", clock=clock) as page,
    ):
        [pick] = app.recommend(1)
        page.agree(Consent())
        app.observe(pick.impression())
        more = ids(app, 2)

        assert not ids(page) & {pick.item.id, *more}


def test_what_was_reserved_and_never_drawn_is_free_again_after_the_answer(
    tmp_path: Path,
) -> None:
    clock = FrozenClock()
    with opened(tmp_path / "v", clock=clock) as me:
        [pick] = me.recommend(1)
        me.agree(Consent())
        assert pick.item.id not in ids(me, 1)
        clock.advance(600_000)
        assert pick.item.id in ids(me)


ERASED = {"all": None, "a time": ErasureScope(since=FrozenClock().reading().wall)}


@pytest.mark.parametrize("part", ERASED.values(), ids=ERASED)
def test_a_list_whose_reservations_were_erased_is_told_without_complaint(
    tmp_path: Path, part: ErasureScope | None
) -> None:
    clock = FrozenClock()
    with (
        opened(tmp_path / "v", LOCAL, clock) as app,
        opened(tmp_path / "v", None, clock) as page,
    ):
        seen, dropped = app.recommend(2)
        app.observe(seen.impression())
        page.rights.forget() if part is None else page.rights.erase(part)

        app.observe(seen.impression("attended"))
        app.release(dropped)

        assert not list(app.rights.events())
        with pytest.raises(InvalidInput, match="reservation_id"):
            app.observe(Event(kind="impression", reservation_id="9999.0"))


def test_what_was_hidden_or_reported_stays_hidden_when_all_is_erased(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "v", LOCAL) as me:
        me.observe(Event(kind="hide", item_id="item-1"))
        me.observe(Event(kind="report", item_id="item-2"))
        me.controls.mute("category", "kind-3")
        me.observe(Event(kind="like", item_id="item-4"))
        me.rights.forget()

        assert ids(me) == {"item-0", "item-4", "item-5"}
        assert not me.explain.interests()
        assert not list(me.rights.events())
    with opened(tmp_path / "v") as again:
        again.controls.unmute("category", "kind-3")
        assert "item-3" in ids(again)
        again.rights.forget(hides=True)
        assert again.controls.muted == []
        assert len(ids(again)) == 6


def test_a_hide_that_outlives_an_erasure_still_ends_when_it_would_have() -> None:
    clock = FrozenClock()
    with small_device(small_catalog(3), clock=clock) as me:
        me.observe(Event(kind="hide", item_id="item-1"))
        clock.advance(80 * 86_400_000)
        me.rights.forget()
        assert "item-1" not in ids(me)
        clock.advance(11 * 86_400_000)
        assert "item-1" in ids(me)


@pytest.mark.parametrize(
    ("more", "left"), [([], [("item", "item-1")]), (["--hides"], [])]
)
def test_the_command_that_erases_keeps_what_is_hidden_unless_told(
    tmp_path: Path, more: list[str], left: list[tuple[str, str]]
) -> None:
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_bytes(FIXED_KEY.key())
    with opened(tmp_path / "v", LOCAL) as me:
        me.observe(Event(kind="hide", item_id="item-1"))

    assert (
        main(["erase", str(tmp_path / "v"), "--key-file", str(tmp_path / "key"), *more])
        == 0
    )

    with opened(tmp_path / "v") as again:
        assert again.controls.muted == left
