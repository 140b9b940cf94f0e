"""`me.explain`: explanations of lists and interests, and previews."""

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
        """Return the inferred interests, strongest first, with the events they come from.

        `me.controls.set_interest` changes one, and `me.rights.erase` erases its events.
        """
        from tactful.device.ranking.explanations.interests import interests

        core = self._core
        state = core.state_cache.current()
        is_sensitive = core.settings.list_policy.concern
        return interests(
            state.profile, core.catalog, core.now_ms(), state.interests, is_sensitive
        )

    def why_not(self, item_id: str, *, surface: str = "home") -> WhyNot:
        """Return the place of an item in a list made now, and every rule that denies it."""
        from tactful.device.ranking.list_builder import ListRequest

        item = self._core.catalog[item_id]
        request = ListRequest(LIST_LENGTH, surface)
        lists, inputs = self._core.lists()
        return lists.why_not(item, request, inputs, self._core.now_ms())

    def preview(
        self, n: int, *, surface: str = "home", ahead: timedelta | None = None
    ) -> list[PreviewedItem]:
        """Return the list as it would be after the time `ahead`, without new events.

        `ahead` is at most 36,500 days; None means now. Nothing is reserved.
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
        """Return the rank of an item after each stage of an earlier list.

        The last 32 lists of this process are stored. With consent to `diagnostics`, all
        lists of the last 30 days are. Raise InvalidInput for any other list.
        """
        lists, inputs = self._core.lists()
        return lists.explain(decision_id, self._core.catalog[item_id], inputs)

    def replay(self, decision_id: str) -> ListReplay:
        """Return an earlier list, computed again from the records of that time.

        The same lists are available as for `trace`.
        """
        lists, inputs = self._core.lists()
        return lists.replay(decision_id, inputs)

    def metrics(self) -> DeviceMetrics | None:
        """Return quality metrics of the stored lists of this device; None without lists.

        They are computed on the device and not sent.
        """
        lists, inputs = self._core.lists()
        return lists.measures(inputs, self._core.now_ms())
