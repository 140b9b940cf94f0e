"""`me.explain`: why lists are as they are, what they were made from, what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tactful.device import checks

if TYPE_CHECKING:
    from datetime import timedelta

    from tactful.device.core import DeviceCore
    from tactful.device.ranking.device_metrics import DeviceMetrics
    from tactful.device.ranking.explanations.interests import Interest
    from tactful.device.ranking.list_trace import ListReplay, PlaceExplanation
    from tactful.device.ranking.results import PreviewedItem, WhyNot

MOST_DAYS_AHEAD = 36_500
LIST_LENGTH = 10  # of the list in which `why_not` places an item


class ExplainApi:
    """Explanations without side effects: nothing is reserved, recorded or sent."""

    def __init__(self, core: DeviceCore) -> None:
        self._core = core

    def interests(self) -> tuple[Interest, ...]:
        """Return what the person is taken to like, strongest first, with the events behind it.

        `me.controls.set_interest` changes one, `me.rights.erase` destroys its events.
        """
        from tactful.device.ranking.explanations.interests import interests

        core = self._core
        state = core.state_cache.current()
        is_sensitive = core.settings.list_policy.concern
        return interests(
            state.profile, core.catalog, core.now_ms(), state.interests, is_sensitive
        )

    def why_not(self, item_id: str, *, surface: str = "home") -> WhyNot:
        """Return the place of an item in the list now, and every rule that denies it."""
        from tactful.device.ranking.list_builder import ListRequest

        item = self._core.catalog[item_id]
        request = ListRequest(LIST_LENGTH, surface)
        lists, inputs = self._core.lists()
        return lists.why_not(item, request, inputs, self._core.now_ms())

    def preview(
        self, n: int, *, surface: str = "home", ahead: timedelta | None = None
    ) -> list[PreviewedItem]:
        """Return the list as it would be `ahead` from now if nothing happened until then.

        `ahead` is at most 36,500 days; None is now.
        """
        from datetime import timedelta

        from tactful.device.ranking.list_builder import ListRequest

        wait = timedelta() if ahead is None else ahead
        checks.instance("ahead", wait, timedelta, "use timedelta(days=1)")
        is_possible = timedelta() <= wait <= timedelta(days=MOST_DAYS_AHEAD)
        fix = f"use a time from now on, of at most {MOST_DAYS_AHEAD:,} days"
        checks.require(
            is_possible, "ahead", f"{wait} is in the past or too far away", fix
        )
        ahead_ms = int(wait.total_seconds() * 1000)
        lists, inputs = self._core.lists()
        request = ListRequest(n, surface)
        return lists.preview(request, inputs, self._core.now_ms(), ahead_ms)

    def trace(self, decision_id: str, item_id: str) -> PlaceExplanation:
        """Return how an item came to its place in an earlier list, stage by stage.

        The last 32 decisions are known, and all of the last 30 days if the person agreed to
        diagnostics; raises InvalidInput for any other.
        """
        lists, inputs = self._core.lists()
        return lists.explain(decision_id, self._core.catalog[item_id], inputs)

    def replay(self, decision_id: str) -> ListReplay:
        """Return an earlier list made again from what was known then, as `trace` knows it."""
        lists, inputs = self._core.lists()
        return lists.replay(decision_id, inputs)

    def metrics(self) -> DeviceMetrics | None:
        """Return what this device's recent lists did to the person; None before the first.

        It is computed here over the lists that `replay` knows, and nothing is sent.
        """
        lists, inputs = self._core.lists()
        return lists.measures(inputs, self._core.now_ms())
