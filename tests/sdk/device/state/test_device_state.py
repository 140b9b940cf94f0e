"""The picture of a vault: the same from its records as from what a cache kept of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.device.state import projection
from tactful.device.state.device_state import DeviceState
from tactful.device.state.profile import Profile
from tactful.device.state.projection import project, project_without_profile
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog

KINDS = ("like", "purchase", "click", "dislike", "view", "rating")
told = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 5)), min_size=1, max_size=25
)


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
        patch.setattr(projection, "CACHE_EVERY", 1)
        project_without_profile(made._core.vault, DeviceState())
        project(made._core.vault, DeviceState())
        assert made._core.vault.cell(projection.PROFILE_CELL)
        assert made._core.vault.cell(projection.SETTINGS_CELL)
        tell(made, second)

        from_cache = project(made._core.vault, DeviceState())
        with made._core.vault.transaction() as writing:
            for cell in (projection.PROFILE_CELL, projection.SETTINGS_CELL):
                writing.drop(cell)
        assert from_cache == project(made._core.vault, DeviceState())
        assert from_cache.profile == Profile.unpacked(from_cache.profile.packed())


def test_what_is_undone_or_forgotten_is_in_no_cache(monkeypatch) -> None:
    monkeypatch.setattr(projection, "CACHE_EVERY", 1)
    with device() as made:
        tell(made, [("like", 1)])
        event = Event(kind="like", item_id="item-2")
        made.observe(event)
        project(made._core.vault, DeviceState())
        made.controls.undo(event.event_id)

        assert set(project(made._core.vault, DeviceState()).profile.beliefs) == {
            "item-1"
        }
        made.rights.forget()
        assert project(made._core.vault, DeviceState()).profile == Profile()
