"""The picture of a vault: the same from its records as from what a cache kept of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.device import memory as remembering
from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.memory import Memory, recall, recall_settings
from tactful.device.personalizer import Personalizer
from tactful.device.profile import Profile
from tactful.device.settings import Settings
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog

KINDS = ("like", "purchase", "click", "dislike", "view", "rating")
told = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 5)), min_size=1, max_size=25)


def device() -> Personalizer:
    settings = Settings(path=None)
    return Personalizer(
        small_catalog(6), settings, key=FIXED_KEY, consent=LOCAL, clock=FrozenClock()
    )


def tell(made: Personalizer, events: list[tuple[str, int]]) -> None:
    for kind, number in events:
        value = 4.0 if kind == "rating" else None
        made.observe(Event(kind=kind, item_id=f"item-{number}", value=value))


@settings(max_examples=40, deadline=None)
@given(first=told, second=told)
def test_a_cache_changes_nothing_that_is_remembered(first, second) -> None:
    with pytest.MonkeyPatch.context() as patch, device() as made:
        tell(made, first)
        made.agree(Consent.to("local_profile"))
        patch.setattr(remembering, "KEEP_EVERY", 1)
        recall_settings(made._vault, Memory())
        recall(made._vault, Memory())
        assert made._vault.cell(remembering.PROFILE)
        assert made._vault.cell(remembering.SETTLEMENTS)
        tell(made, second)

        from_cache = recall(made._vault, Memory())
        with made._vault.transaction() as writing:
            for cell in (remembering.PROFILE, remembering.SETTLEMENTS):
                writing.drop(cell)
        assert from_cache == recall(made._vault, Memory())
        assert from_cache.profile == Profile.unpacked(from_cache.profile.packed())


def test_what_is_undone_or_forgotten_is_in_no_cache(monkeypatch) -> None:
    monkeypatch.setattr(remembering, "KEEP_EVERY", 1)
    with device() as made:
        tell(made, [("like", 1)])
        event = Event(kind="like", item_id="item-2")
        made.observe(event)
        recall(made._vault, Memory())
        made.undo(event.event_id)

        assert set(recall(made._vault, Memory()).profile.beliefs) == {"item-1"}
        made.forget()
        assert recall(made._vault, Memory()).profile == Profile()
