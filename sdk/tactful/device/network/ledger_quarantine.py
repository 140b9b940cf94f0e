"""The waiting period of a ledger that may be incomplete.

After a reinstall or a restored backup, charges may be missing from the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tactful.device.settings import Settings
from tactful.device.state.device_state import STATE_KINDS, DeviceState
from tactful.device.state.projection import project
from tactful.device.vault import Vault, VaultTransaction
from tactful.device.vault.rollback_anchor import HighWaterMark, RollbackAnchor
from tactful.errors import TrustPending
from tactful.privacy.budget import CARRIED, Charge, Ledger

MS_PER_DAY = 86_400_000
# How far a device's clock may be behind. With a larger error a device refuses the
# signed HPKE configs, so it cannot contribute.
CLOCK_ERROR_MS = MS_PER_DAY


@dataclass(frozen=True)
class LedgerQuarantine:
    """The waiting period of `days`, and the anchor that knows of lost charges.

    Nothing proves that a vault is the first one of a device: whoever wipes the vault
    can wipe the anchor too. So every ledger waits from its beginning, or from its last
    restore. Afterwards it contributes only to tasks that opened since, because an
    earlier task may contain a report of this device already.

    Ledger time is the strictest timeline of the frequency caps: neither the app nor
    the operator can advance it by a clock. `days=0` is for tests; it asserts that there
    was no earlier ledger.
    """

    vault: Vault
    anchor: RollbackAnchor | None
    days: int

    def require(self, state: DeviceState, waited_ms: int, now: int) -> DeviceState:
        """Return the state if its ledger is complete; else raise TrustPending.

        First charge what the anchor knows to have been spent by a lost ledger.
        `waited_ms` is ledger time since the vault began, `now` ledger time in unix
        seconds.
        """
        if self.anchor is not None:
            mark = self.anchor.read()
            if not self._continues(mark, state):
                state = self._restored(mark, state, waited_ms, now)
        waiting_since_ms = state.restored_ms or 0
        remaining_ms = waiting_since_ms + self.days * MS_PER_DAY - waited_ms
        if remaining_ms > 0:
            raise TrustPending(
                "ledger: charges of an earlier vault may be missing; this device "
                f"contributes after {remaining_ms / MS_PER_DAY:.1f} more days of running"
            )
        return state

    def require_new(
        self, opens: int, state: DeviceState, ledger_time: tuple[int, int], wall: int
    ) -> None:
        """Raise TrustPending for a task that opened before this ledger began.

        `opens` is in unix seconds. `ledger_time` is in milliseconds: since the vault
        began, and now. `wall` is the wall clock in unix seconds.
        """
        if not self.days:
            return
        if 1000 * opens < self._latest_start_ms(state, *ledger_time, 1000 * wall):
            raise TrustPending(
                "task.opens: the task opened before this device's ledger began, and "
                "may contain a report of this device; wait for the next round"
            )

    def _latest_start_ms(
        self, state: DeviceState, waited_ms: int, now_ms: int, wall_ms: int
    ) -> int:
        """Return the latest possible start of the ledger, in unix milliseconds.

        The clock may have been wrong at the start. So a recorded start in the future
        is ignored, and one in the past is compared with the elapsed time.
        """
        since_ms = state.restored_ms or 0
        recorded_ms = now_ms - waited_ms + since_ms
        by_elapsed_ms = wall_ms + CLOCK_ERROR_MS - (waited_ms - since_ms)
        if recorded_ms > wall_ms:
            return by_elapsed_ms
        return max(recorded_ms, by_elapsed_ms)

    def restart(self, waited_ms: int) -> None:
        """Restart the waiting period, because the vault was restored, damaged or lost."""
        self.vault.append("quarantine", {"waited_ms": waited_ms}, durable=True)

    def update_anchor(self, state: DeviceState) -> None:
        """Store the length and the cost of the ledger in the anchor."""
        if self.anchor is None:
            return
        ledger = state.ledger
        mark = HighWaterMark.of(
            self.vault.id, len(ledger.entries), ledger.head, ledger.spent
        )
        self.anchor.write(mark)

    def _continues(self, mark: HighWaterMark | None, state: DeviceState) -> bool:
        """Return True if the ledger extends the marked one, or both are empty."""
        if mark is None:
            return not state.ledger.entries
        hashes = state.ledger.hashes
        if mark.vault != self.vault.id or mark.entries > len(hashes):
            return False
        return mark.entries == 0 or hashes[mark.entries - 1] == mark.head

    def _restored(
        self, mark: HighWaterMark | None, state: DeviceState, waited_ms: int, now: int
    ) -> DeviceState:
        """Restart the waiting period, charge what was lost, and return the new state."""
        with self.vault.transaction(durable=True) as transaction:
            newest = state.after(transaction.read(state.position, STATE_KINDS))
            _charge_lost(transaction, newest, mark, now)
            transaction.append("quarantine", {"waited_ms": waited_ms})
        restored_state = project(self.vault, state)
        self.update_anchor(restored_state)
        return restored_state


def empty_ledger(settings: Settings) -> Ledger:
    """Return an empty ledger with the lifetime cap, and the cap of each purpose."""
    if not settings.lifetime_epsilon:
        return Ledger(Fraction(0))
    from tactful.privacy.accountant import mu_for, rho_for

    def gaussian_cap(epsilon: float) -> Fraction:
        if not epsilon:
            return Fraction(0)
        return Fraction(mu_for(epsilon, settings.delta)) ** 2 / 2

    def zcdp_cap(epsilon: float) -> Fraction:
        if not epsilon:
            return Fraction(0)
        return Fraction(rho_for(epsilon, settings.delta))

    purposes = settings.purpose_epsilon or {}
    return Ledger(
        gaussian_cap(settings.lifetime_epsilon),
        caps={name: gaussian_cap(epsilon) for name, epsilon in purposes.items()},
        zcdp_cap=zcdp_cap(settings.lifetime_epsilon),
        zcdp_caps={name: zcdp_cap(epsilon) for name, epsilon in purposes.items()},
    )


def _charge_lost(
    transaction: VaultTransaction,
    state: DeviceState,
    mark: HighWaterMark | None,
    now: int,
) -> None:
    """Charge what the anchor knows to have been spent and the ledger does not."""
    marked_rho = Fraction(0) if mark is None else Fraction(mark.rho)
    lost_rho = marked_rho - state.ledger.spent
    if lost_rho > 0:
        charge = Charge(task_id="", purpose=CARRIED, rho=lost_rho, time=now)
        transaction.append("charge", charge.body())
