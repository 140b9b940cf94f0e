"""State and helpers that the parts of the cap engine share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager

from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import Hold, Processes, hold_id
from tactful.device.caps.deciding.remaining import DecisionContext
from tactful.device.caps.rules.model import QuietHours, Rules
from tactful.device.caps.session import CapSession, Instant, WriteTransaction
from tactful.device.caps.timeline.segments import VERIFIED
from tactful.device.clock import Clock
from tactful.device.device_key import KEY_BYTES, HostKey
from tactful.device.vault import BUSY_SECONDS, Vault
from tactful.errors import InvalidInput, VaultError


class CapCore:
    """The session with the vault, and what was not stored yet.

    `memory_only` is True if nothing is written. `subject` is the profile of the person.
    """

    def __init__(
        self,
        vault: Vault | None,
        clock: Clock,
        rules: Rules,
        *,
        subject: str,
        durable: bool,
        processes: Processes,
    ) -> None:
        """Start on `vault`, or in memory if it is None."""
        self.memory_only = vault is None
        self.durable = durable
        self.subject = subject
        self.session = CapSession(
            in_memory() if vault is None else vault, clock, rules, processes
        )
        # Reservation ids of an earlier vault to those of the current one.
        self.new_reservation_ids: dict[str, str] = {}
        # Calls that store blocks again which the vault could not store.
        self.retries: list[Callable[[], object]] = []

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self.session.rules

    def write(self) -> AbstractContextManager[WriteTransaction]:
        """Open a write transaction; first store what is unstored."""
        self.store_unstored()
        return self.session.write(durable=self.durable, seconds=BUSY_SECONDS)

    def store_unstored(self) -> None:
        """Store what the vault could not store; if it fails again, keep it."""
        if not self.retries:
            return
        retries, self.retries = self.retries, []
        for number, retry in enumerate(retries):
            try:
                # If it fails, it adds itself to `retries` again.
                retry()
            except VaultError:
                self.retries += retries[number + 1 :]
                return
        self.session.unstored.clear()

    def context(
        self, state: CounterState, now: Instant, surface: str, ahead_ms: int = 0
    ) -> DecisionContext:
        """Return the context of a decision on `surface`, `ahead_ms` from `now`."""
        wall_ms = now.reading.wall_ms + ahead_ms
        return DecisionContext(
            surface=surface,
            subject=self.subject,
            interruptive=self.rules.surface(surface).interruptive,
            times=self.session.rule_instants(state, now, ahead_ms),
            wall_ms=wall_ms,
            civil_ms=_civil_times(now, wall_ms, ahead_ms),
            jitter=self._jitter_ms,
            memory_only=self.memory_only,
        )

    def _jitter_ms(self, quiet: QuietHours) -> int:
        """Return a delay that is always the same for one vault and one quiet rule.

        It keeps devices from interrupting all at once when quiet hours end.
        """
        digest = self.session.vault.blind(f"quiet {quiet.id}")
        number = int.from_bytes(digest[:8], "big")
        return number % (quiet.jitter_ms + 1)

    def require_surface(self, surface: str) -> None:
        """Raise InvalidInput for a surface that is not in the rules."""
        surfaces = self.rules.surfaces
        if surfaces and surface not in surfaces:
            fix = f"use one of {', '.join(surfaces)}, or add it to the rules"
            raise InvalidInput("surface", f"{surface!r} is not in the rules", fix)

    def erased(self, reservation_id: str) -> bool:
        """Return True if the reservation existed and the person has erased it."""
        id_of_hold = self._hold_id(reservation_id)
        return id_of_hold is not None and self.session.vault.erased(id_of_hold[0])

    def find_hold(self, state: CounterState, reservation_id: str | None) -> Hold | None:
        """Return the hold of a reservation, None if it is not known."""
        if reservation_id is None:
            return None
        id_of_hold = self._hold_id(reservation_id)
        return None if id_of_hold is None else state.find_hold(id_of_hold)

    def require_hold(self, state: CounterState, reservation_id: str) -> Hold:
        """Return the hold of a reservation; raise InvalidInput if it is not known."""
        hold = self.find_hold(state, reservation_id)
        if hold is None:
            raise InvalidInput(
                "reservation_id",
                f"{reservation_id!r} is not known",
                "use the one of a pick",
            )
        return hold

    def _hold_id(self, reservation_id: str) -> tuple[int, int] | None:
        current_id = self.new_reservation_ids.get(reservation_id, reservation_id)
        return hold_id(current_id)


def in_memory() -> Vault:
    """Return a new vault in memory with a random key."""
    return Vault.open(None, HostKey(secrets.token_bytes(KEY_BYTES)))


def _civil_times(now: Instant, wall_ms: int, ahead_ms: int) -> tuple[int, ...]:
    """Return the wall clock, and the verified time if a stamp came in this boot."""
    segment = now.timeline.segments[now.stamp.segment]
    if segment.verified:
        return wall_ms, now.ms(VERIFIED) + ahead_ms
    return (wall_ms,)
