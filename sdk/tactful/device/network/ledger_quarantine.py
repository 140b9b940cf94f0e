"""Whether this ledger is the whole of it: after a reinstall or a restored backup, wait first."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tactful.device.settings import Settings
from tactful.device.state.device_state import REMEMBERED, DeviceState, recall
from tactful.device.vault import Vault, VaultTransaction
from tactful.device.vault.rollback_anchor import HighWaterMark, RollbackAnchor
from tactful.errors import TrustPending
from tactful.privacy.budget import CARRIED, Charge, Ledger

MS_PER_DAY = 86_400_000
CLOCK_MS = (
    MS_PER_DAY  # how far behind a device's clock may be: a signed config refuses more
)


@dataclass(frozen=True)
class LedgerQuarantine:
    """The waiting that `days` of ledger time impose, and the anchor that knows of lost charges.

    Nothing proves that a vault is a device's first one: whoever wipes the vault can wipe the
    anchor too. So every ledger waits from its beginning, or from when it was last put back, and
    joins only tasks that opened since: an earlier one may hold a report of this device already.
    Ledger time is that of repetition caps' strictest timeline: no clock that app or operator can
    turn hastens it. `days` of 0 is a test's word that there was no earlier ledger.
    """

    vault: Vault
    anchor: RollbackAnchor | None
    days: int

    def require(self, memory: DeviceState, waited_ms: int, now: int) -> DeviceState:
        """The memory, once its ledger may be relied on; raises TrustPending until then.

        What an anchor knows to have been spent by a lost ledger is carried over first. `waited_ms`
        is ledger time since the vault began, `now` the same in unix seconds.
        """
        if self.anchor is not None and not self._continues(
            mark := self.anchor.read(), memory
        ):
            memory = self._restored(mark, memory, waited_ms, now)
        left = (memory.restored_ms or 0) + self.days * MS_PER_DAY - waited_ms
        if left > 0:
            raise TrustPending(
                f"ledger: it may not be the whole of what was spent; this device contributes "
                f"after {left / MS_PER_DAY:.1f} more days of running"
            )
        return memory

    def require_new(
        self, opens: int, memory: DeviceState, ledger_time: tuple[int, int], wall: int
    ) -> None:
        """Raise TrustPending for a task that opened (unix seconds) before this ledger began.

        `ledger_time` is in milliseconds: since the vault began, and now. `wall` is the device's
        clock in unix seconds.
        """
        if self.days and 1000 * opens < self._began_ms(
            memory, *ledger_time, 1000 * wall
        ):
            raise TrustPending(
                "task.opens: it opened before this device's ledger began, and may hold a report "
                "of this device already; wait for the next round"
            )

    def _began_ms(
        self, memory: DeviceState, waited_ms: int, now_ms: int, wall_ms: int
    ) -> int:
        """Return the latest time at which the ledger can have begun, in unix milliseconds.

        The clock may have been wrong then: a beginning in the future is none, and one in the past
        is compared with the time that passed since.
        """
        since = memory.restored_ms or 0
        noted = now_ms - waited_ms + since
        passed = wall_ms + CLOCK_MS - (waited_ms - since)
        return max(noted, passed) if noted <= wall_ms else passed

    def put_back(self, waited_ms: int) -> None:
        """Note that the vault itself found it was put back, damaged or lost: the waiting starts."""
        self.vault.append("restored", {"waited_ms": waited_ms}, durable=True)

    def keep(self, memory: DeviceState) -> None:
        """Tell the anchor how far the ledger has come, before anything is sent."""
        if self.anchor is not None:
            ledger = memory.ledger
            self.anchor.write(
                HighWaterMark.of(
                    self.vault.id, len(ledger.entries), ledger.head, ledger.spent
                )
            )

    def _continues(self, mark: HighWaterMark | None, memory: DeviceState) -> bool:
        """Whether the ledger goes on from the mark, or both begin here."""
        if mark is None:
            return not memory.ledger.entries
        hashes = memory.ledger.hashes
        if mark.vault != self.vault.id or mark.entries > len(hashes):
            return False
        return mark.entries == 0 or hashes[mark.entries - 1] == mark.head

    def _restored(
        self, mark: HighWaterMark | None, memory: DeviceState, waited_ms: int, now: int
    ) -> DeviceState:
        """Write down that the ledger was put back, and charge what it had forgotten."""
        with self.vault.transaction(durable=True) as writing:
            newest = memory.after(writing.read(memory.position, REMEMBERED))
            _charge_lost(writing, newest, mark, now)
            writing.append("restored", {"waited_ms": waited_ms})
        memory = recall(self.vault, memory)
        self.keep(memory)
        return memory


def caps(settings: Settings) -> Ledger:
    """An empty ledger with what the app lets a device spend in its life, and for each purpose."""
    if not settings.lifetime_epsilon:
        return Ledger(Fraction(0))
    from tactful.privacy.accountant import mu_for, rho_for

    def gaussian(epsilon: float) -> Fraction:
        return (
            Fraction(mu_for(epsilon, settings.delta)) ** 2 / 2
            if epsilon
            else Fraction(0)
        )

    def zcdp(epsilon: float) -> Fraction:
        return Fraction(rho_for(epsilon, settings.delta)) if epsilon else Fraction(0)

    purposes = settings.purpose_epsilon or {}
    return Ledger(
        gaussian(settings.lifetime_epsilon),
        caps={name: gaussian(most) for name, most in purposes.items()},
        zcdp_cap=zcdp(settings.lifetime_epsilon),
        zcdp_caps={name: zcdp(most) for name, most in purposes.items()},
    )


def _charge_lost(
    writing: VaultTransaction, memory: DeviceState, mark: HighWaterMark | None, now: int
) -> None:
    known = Fraction(0) if mark is None else Fraction(mark.rho)
    lost = known - memory.ledger.spent
    if lost > 0:
        charge = Charge(task_id="", purpose=CARRIED, rho=lost, time=now)
        writing.append("charge", charge.body())
