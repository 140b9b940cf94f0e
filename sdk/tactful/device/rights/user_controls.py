"""The person's own settings, stored in the vault and in force at once in every app."""

from __future__ import annotations

import json
from math import inf
from typing import Literal, get_args

from tactful.device import checks
from tactful.device.caps import CapEngine, Rules
from tactful.device.caps.rules.parser import read_rules
from tactful.device.events import Scope
from tactful.device.rights.consent_controls import ConsentControls
from tactful.device.state.removal import undo
from tactful.device.state.state_cache import StateCache
from tactful.device.vault import Vault
from tactful.errors import InvalidInput

InterestScope = Literal["item", "family", "campaign", "category", "brand"]
INTEREST_SCOPES: tuple[str, ...] = get_args(InterestScope)
MAX_INTEREST = 8.0
DAY_MS = 86_400_000
# Ids of the rules that `set_weekly_limit` writes.
WEEKLY_RULE, NIGHT_RULE = "own-week", "own-night"
NIGHT = {"from": "22:00", "to": "07:00"}


class UserControls:
    """The person's balance, interests, limits, mutes and pause.

    The app cannot loosen what the person sets. `consent` grants and withdraws single
    purposes.
    """

    def __init__(
        self,
        vault: Vault,
        caps: CapEngine,
        rules: Rules,
        state_cache: StateCache,
        consent: ConsentControls,
    ) -> None:
        self.consent = consent
        self._vault = vault
        self._caps = caps
        self._app_rules = rules
        self._state_cache = state_cache
        self._applied_limits = ""
        self.follow(state_cache.without_profile().limits)

    def set_balance(self, balance: float) -> None:
        """Limit the personal share of lists: 0 (the standard list) to 1."""
        checks.number("balance", balance, 0, 1, "use 0 to 1")
        self._vault.append("setting", {"balance": balance})

    def set_interest(self, scope: InterestScope, value: str, factor: float) -> None:
        """Set how much items whose `scope` is `value` count, 0 to 8; 1 is normal.

        At 0, nothing that was learned about them is used.
        """
        checks.one_of("scope", scope, INTEREST_SCOPES)
        checks.text("value", value, most=inf)
        checks.number("factor", factor, 0, MAX_INTEREST, "use 0 to 8")
        self._vault.append("setting", {"interest": [scope, value, factor]})

    def set_replenishable(self, item_id: str, used_up: bool) -> None:
        """Set if an item is used up and then wanted again, whatever the app declares."""
        checks.text("item_id", item_id)
        checks.flag("used_up", used_up)
        self._vault.append("setting", {"used_up": [item_id, used_up]})

    def set_paused(self, paused: bool) -> None:
        """Pause or resume learning; frequency caps still count, and the profile stays."""
        checks.flag("paused", paused)
        self._vault.append("setting", {"paused": paused})

    def set_limits(self, document: dict[str, object] | None) -> None:
        """Replace the person's own frequency caps and quiet hours; None removes them.

        `document` is a rules document. It tightens the app's rules, and the app cannot
        loosen it. Raise InvalidInput for a wrong document; the old limits then stay.
        """
        limits = "" if document is None else _serialize(document)
        self._apply(limits)
        self._vault.append("setting", {"limits": limits})

    def set_weekly_limit(
        self, shows: int | None, *, quiet_at_night: bool = False
    ) -> None:
        """Show each item at most `shows` times in seven days; None sets no such limit.

        With `quiet_at_night`, nothing is shown unasked from 22:00 to 07:00. Other
        limits of the person stay. Where the app has no interruptive surface, a quiet
        night of the person stays as well.
        """
        if shows is not None:
            checks.whole("shows", shows, 0, 1000, "use 0 to 1000, or None")
        limits = self.limits or {}
        rules = _without_rule(limits.get("rules"), WEEKLY_RULE)
        if shows is not None:
            rules.append(_weekly_rule(shows))
        surfaces = self.interruptive_surfaces
        quiet_hours = _without_rule(
            limits.get("quiet_hours"), NIGHT_RULE if surfaces else ""
        )
        if quiet_at_night and surfaces:
            quiet_hours.append(_night_rule(surfaces))
        if rules or quiet_hours:
            self.set_limits(
                {**limits, "schema": 1, "rules": rules, "quiet_hours": quiet_hours}
            )
        else:
            self.set_limits(None)

    @property
    def surfaces(self) -> list[str]:
        """The surfaces that the app's rules name; empty if any name is allowed."""
        return list(self._app_rules.surfaces)

    @property
    def interruptive_surfaces(self) -> list[str]:
        """The surfaces on which the app reaches the person unasked."""
        surfaces = self._app_rules.surfaces
        return [name for name, surface in surfaces.items() if surface.interruptive]

    @property
    def limits(self) -> dict[str, object] | None:
        """The person's own rules document, None if there is none."""
        limits = self._state_cache.without_profile().limits
        return json.loads(limits) if limits else None

    def mute(self, scope: Scope, value: str) -> None:
        """Show nothing whose `scope` (item, brand, category, ...) is `value`.

        It holds until `unmute`.
        """
        self._caps.blocks.mute(scope, value, for_ms=None)

    def unmute(self, scope: Scope, value: str) -> None:
        """Undo a mute or a hide."""
        self._caps.blocks.unmute(scope, value)

    @property
    def muted(self) -> list[tuple[str, str]]:
        """Every (scope, value) that is hidden or muted."""
        return self._caps.blocks.muted()

    def undo(self, event_id: str) -> None:
        """Erase a like, a dislike, a hide, ..., so that it no longer counts.

        Raise InvalidInput for an unknown event, and for an impression: it happened.
        """
        checks.text("event_id", event_id)
        undo(self._vault, event_id)

    def follow(self, limits: str) -> None:
        """Apply the limits that another process set: a rules document as JSON."""
        if limits != self._applied_limits:
            self._apply(limits)

    def _apply(self, limits: str) -> None:
        rules = self._app_rules
        if limits:
            user_rules = read_rules(json.loads(limits), channel="user")
            rules = rules.with_user(user_rules)
        self._caps.use(rules)
        self._applied_limits = limits


def _serialize(document: object) -> str:
    try:
        return json.dumps(document, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            "limits", f"it is not JSON ({error})", "use plain values"
        ) from error


def _without_rule(rules: object, rule_id: str) -> list[object]:
    """Return the person's own rules except the one with `rule_id`."""
    all_rules = rules if isinstance(rules, list) else []
    return [
        rule
        for rule in all_rules
        if not (isinstance(rule, dict) and rule.get("id") == rule_id)
    ]


def _weekly_rule(shows: int) -> dict[str, object]:
    return {
        "id": WEEKLY_RULE,
        "author": "user",
        "key": ["item"],
        "window": {"kind": "sliding", "ms": 7 * DAY_MS},
        "limit": shows,
        "reason_code": "OWN_LIMIT",
    }


def _night_rule(surfaces: list[str]) -> dict[str, object]:
    return {"id": NIGHT_RULE, "author": "user", "surface": surfaces, **NIGHT}
