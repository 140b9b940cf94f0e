"""What the person sets on this device: recorded in the vault, in force at once, for every app."""

from __future__ import annotations

import json
from math import inf

from tactful.device import checks
from tactful.device.caps import CapEngine, Rules
from tactful.device.caps.rules.parser import read_rules
from tactful.device.state.removal import undo
from tactful.device.state.state_cache import StateCache
from tactful.device.vault import Vault
from tactful.errors import InvalidInput

INTERESTS = ("item", "family", "campaign", "category", "brand")
MOST_INTEREST = 8.0
DAY_MS = 86_400_000
WEEK, NIGHT = "own-week", "own-night"  # ids of the limits that a page sets
SLEEP = {"from": "22:00", "to": "07:00"}


class UserControls:
    """The person's hand: balance, limits, mutes, pause. The app cannot loosen what it sets."""

    def __init__(
        self,
        vault: Vault,
        caps: CapEngine,
        rules: Rules,
        state_cache: StateCache,
    ) -> None:
        self._vault = vault
        self._caps = caps
        self._rules = rules
        self._state_cache = state_cache
        self._followed = ""
        self.follow(state_cache.without_profile().limits)

    def set_balance(self, balance: float) -> None:
        """How personal lists may be: 0 (the standard list) to 1."""
        checks.number("balance", balance, 0, 1, "use 0 to 1")
        self._vault.append("setting", {"balance": balance})

    def set_interest(self, scope: str, value: str, factor: float) -> None:
        """How much all whose `scope` is `value` counts: 0 not at all, 1 as ever, 8 at the most.

        At 0 what was learnt of it is not used, and none of it is taken for an interest.
        """
        checks.one_of("scope", scope, INTERESTS)
        checks.text("value", value, most=inf)
        checks.number("factor", factor, 0, MOST_INTEREST, "use 0 to 8")
        self._vault.append("setting", {"interest": [scope, value, factor]})

    def set_replenishable(self, item_id: str, used_up: bool) -> None:
        """Whether an item is used up and then welcome again, whatever the app says of it."""
        checks.text("item_id", item_id)
        checks.flag("used_up", used_up)
        self._vault.append("setting", {"used_up": [item_id, used_up]})

    def set_paused(self, paused: bool) -> None:
        """Learn nothing for now; limits go on, and what is known stays."""
        checks.flag("paused", paused)
        self._vault.append("setting", {"paused": paused})

    def set_limits(self, document: dict[str, object] | None) -> None:
        """The person's own repetition limits and quiet hours, a rules document; None has none.

        They tighten what the app set, and nothing the app does loosens them. Raises InvalidInput.
        """
        own = "" if document is None else _written(document)
        self._limit(own)  # raises before anything is recorded
        self._vault.append("setting", {"limits": own})

    def set_weekly_limit(
        self, shows: int | None, *, quiet_at_night: bool = False
    ) -> None:
        """The same thing at most `shows` times in seven days; None sets no limit of one's own.

        `quiet_at_night` holds back what reaches the person unasked, from 22:00 to 07:00. Other
        limits of one's own stay, and so does a quiet night where the app's rules reach nobody.
        """
        if shows is not None:
            checks.whole("shows", shows, 0, 1000, "use 0 to 1000, or None")
        kept = self.limits or {}
        rules = _others(kept.get("rules"), WEEK) + (
            [] if shows is None else [_weekly(shows)]
        )
        quiet = _others(kept.get("quiet_hours"), NIGHT if self.reaching else "")
        quiet += [_night(self.reaching)] if quiet_at_night and self.reaching else []
        own = {**kept, "schema": 1, "rules": rules, "quiet_hours": quiet}
        self.set_limits(own if rules or quiet else None)

    @property
    def surfaces(self) -> list[str]:
        """The places that the app's rules name; none if any will do."""
        return list(self._rules.surfaces)

    @property
    def reaching(self) -> list[str]:
        """The surfaces by which the app reaches the person unasked, as its rules name them."""
        return [name for name, one in self._rules.surfaces.items() if one.interruptive]

    @property
    def limits(self) -> dict[str, object] | None:
        """The person's own rules document."""
        own = self._state_cache.without_profile().limits
        return json.loads(own) if own else None

    def mute(self, scope: str, value: str) -> None:
        """Show nothing whose `scope` (item, brand, category, ...) is `value`, until taken back."""
        self._caps.mute(scope, value, for_ms=None)

    def unmute(self, scope: str, value: str) -> None:
        """Take back what was hidden or muted."""
        self._caps.unmute(scope, value)

    @property
    def muted(self) -> list[tuple[str, str]]:
        """Every (scope, value) that is hidden or muted."""
        return self._caps.muted()

    def undo(self, event_id: str) -> None:
        """Take back a like, a dislike, a hide, ...: it is destroyed and no longer counts.

        Raises InvalidInput for an unknown event, or for an impression, which stays true.
        """
        checks.text("event_id", event_id)
        undo(self._vault, event_id)

    def follow(self, own: str) -> None:
        """Take over limits that were set in another process: their document as JSON."""
        if own != self._followed:
            self._limit(own)

    def _limit(self, own: str) -> None:
        person = read_rules(json.loads(own), channel="user") if own else None
        self._caps.use(self._rules if person is None else self._rules.with_user(person))
        self._followed = own


def _written(document: object) -> str:
    try:
        return json.dumps(document, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as wrong:
        raise InvalidInput(
            "limits", f"it is no JSON ({wrong})", "use plain values"
        ) from wrong


def _others(own: object, name: str) -> list[object]:
    """The person's own rules but the one called `name`."""
    rules = own if isinstance(own, list) else []
    return [
        one for one in rules if not (isinstance(one, dict) and one.get("id") == name)
    ]


def _weekly(shows: int) -> dict[str, object]:
    return {
        "id": WEEK,
        "author": "user",
        "key": ["item"],
        "window": {"kind": "sliding", "ms": 7 * DAY_MS},
        "limit": shows,
        "reason_code": "OWN_LIMIT",
    }


def _night(surfaces: list[str]) -> dict[str, object]:
    return {"id": NIGHT, "author": "user", "surface": surfaces, **SLEEP}
