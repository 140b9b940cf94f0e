"""Mutes, and blocks that the vault could not store yet."""

from __future__ import annotations

from math import inf

from tactful.device import checks
from tactful.device.caps.core import CapCore
from tactful.device.caps.counting.user_blocks import MUTE_MS, SCOPES, Block
from tactful.device.caps.rules.subject import CapSubject, Showable
from tactful.device.caps.timeline.segments import Moment
from tactful.device.events import Event
from tactful.errors import InvalidInput, NotStored, VaultDamaged, VaultError


class BlockControls:
    """Controls of what the person does not want to see."""

    def __init__(self, core: CapCore) -> None:
        self._core = core

    def mute(self, scope: str, value: str, *, for_ms: int | None = MUTE_MS) -> None:
        """Show nothing whose `scope` is `value`, for 90 days or for `for_ms`.

        None lasts until the person undoes it. Raise NotStored if the vault cannot store
        it; it then still takes effect in this process.
        """
        _require_scope(scope)
        checks.text("value", value, most=inf)
        if for_ms is not None and for_ms < 1:
            raise InvalidInput(
                "for_ms", f"{for_ms} is not a duration", "use 1 or more, or None"
            )
        core = self._core
        try:
            with core.write() as transaction:
                place = transaction.now.stamp[:2]
                fields = [core.subject, scope, value, True, *place, for_ms]
                transaction.append_and_apply("mute", fields)
        except VaultDamaged:
            raise
        except VaultError as vault_error:
            with core.session.read() as (_, now):
                block = Block(*now.stamp[:2], for_ms, "NOT_INTERESTED")
            core.session.unstored.mute((core.subject, scope, value), block)
            core.retries.append(lambda: self.mute(scope, value, for_ms=for_ms))
            raise NotStored.of("mute", vault_error) from vault_error

    def unmute(self, scope: str, value: str) -> None:
        """Undo a hide or mute: `scope` is item, brand, category, ..."""
        _require_scope(scope)
        core = self._core
        # A mute that waits to be stored must not be stored after this.
        core.store_unstored()
        with core.write() as transaction:
            place = transaction.now.stamp[:2]
            fields = [core.subject, scope, value, False, *place, None]
            transaction.append_and_apply("mute", fields)

    def muted(self) -> list[tuple[str, str]]:
        """Return every (scope, value) that the person hid or muted and did not undo."""
        blocks = self._core.session.recorded_state().user_blocks
        return blocks.muted(self._core.subject)

    def mute_rows(self) -> list[list[object]]:
        """Return all hides and mutes as fields of `mute` records that restore them.

        Mutes that have ended stay ended. Reported items are muted without an end.
        """
        return self._core.session.recorded_state().user_blocks.to_mute_rows()

    def block_unstored(self, event: Event, item: Showable | None, at: Moment) -> None:
        """Let a reaction take effect in this process until it is stored."""
        core = self._core
        with core.session.read() as (state, _):
            hold = core.find_hold(state, event.reservation_id)
        cap_subject = None
        surface = event.surface or ""
        if hold is not None:
            cap_subject = hold.cap_subject
            surface = event.surface or hold.surface
        elif item is not None:
            cap_subject = CapSubject.of(item)
        if cap_subject is not None:
            core.session.unstored.add_reaction(
                event.kind,
                cap_subject,
                core.subject,
                (at.segment, at.offset),
                event.scope or "item",
                surface,
            )


def _require_scope(scope: str) -> None:
    if scope not in SCOPES:
        raise InvalidInput(
            "scope", f"{scope!r} is not known", f"use one of {', '.join(SCOPES)}"
        )
