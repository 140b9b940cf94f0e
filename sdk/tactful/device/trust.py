"""Whether this ledger is the whole of it: after a reinstall or a restored backup, wait first."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tactful.device.anchor import LedgerAnchor, Mark
from tactful.device.memory import REMEMBERED, Memory, recall
from tactful.device.settings import Settings
from tactful.device.vault import Transaction, Vault
from tactful.errors import TrustPending
from tactful.privacy.budget import CARRIED, Charge, Ledger

MS_PER_DAY = 86_400_000


@dataclass(frozen=True)
class Trust:
    """The waiting that `days` of ledger time impose, and the anchor that can shorten it.

    Ledger time is that of repetition caps' strictest timeline: no clock that app or operator can
    turn hastens it.
    """

    vault: Vault
    anchor: LedgerAnchor | None
    days: int

    def require(self, memory: Memory, waited_ms: int, now: int) -> Memory:
        """The memory, once its ledger may be relied on; raises TrustPending until then.

        What an anchor knows to have been spent by a lost ledger is carried over first. `waited_ms`
        is ledger time since the vault began, `now` the same in unix seconds.
        """
        since = memory.restored_ms
        if self.anchor is None:
            since = since or 0
        elif not self._continues(mark := self.anchor.read(), memory):
            memory, since = self._restored(mark, memory, waited_ms, now), waited_ms
        if since is not None and waited_ms < since + self.days * MS_PER_DAY:
            left = since + self.days * MS_PER_DAY - waited_ms
            raise TrustPending(
                f"ledger: it may not be the whole of what was spent; this device contributes "
                f"after {left / MS_PER_DAY:.1f} days of running, or with an anchor that proves it"
            )
        return memory

    def put_back(self, waited_ms: int) -> None:
        """Note that the vault itself found it was put back, damaged or lost: the waiting starts."""
        self.vault.append("restored", {"waited_ms": waited_ms}, durable=True)

    def keep(self, memory: Memory) -> None:
        """Tell the anchor how far the ledger has come, before anything is sent."""
        if self.anchor is not None:
            ledger = memory.ledger
            self.anchor.write(
                Mark.of(self.vault.id, len(ledger.entries), ledger.head, ledger.spent)
            )

    def _continues(self, mark: Mark | None, memory: Memory) -> bool:
        """Whether the ledger goes on from the mark, or both begin here."""
        if mark is None:
            return not memory.ledger.entries
        hashes = memory.ledger.hashes
        if mark.vault != self.vault.id or mark.entries > len(hashes):
            return False
        return mark.entries == 0 or hashes[mark.entries - 1] == mark.head

    def _restored(self, mark: Mark | None, memory: Memory, waited_ms: int, now: int) -> Memory:
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
    from tactful.privacy.accountant import mu_for

    def rho(epsilon: float) -> Fraction:
        return Fraction(mu_for(epsilon, settings.delta)) ** 2 / 2 if epsilon else Fraction(0)

    purposes = {name: rho(most) for name, most in (settings.purpose_epsilon or {}).items()}
    return Ledger(rho(settings.lifetime_epsilon), caps=purposes)


def _charge_lost(writing: Transaction, memory: Memory, mark: Mark | None, now: int) -> None:
    known = Fraction(0) if mark is None else Fraction(mark.rho)
    lost = known - memory.ledger.spent
    if lost > 0:
        charge = Charge(task_id="", purpose=CARRIED, rho=lost, time=now)
        writing.append("charge", charge.body())
