"""Engine of frequency caps: decide, reserve, confirm, release, and record reactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tactful.device.caps.block_controls import BlockControls
from tactful.device.caps.cap_clock import CapClock
from tactful.device.caps.cap_explanations import CapExplanations
from tactful.device.caps.core import CapCore, in_memory
from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import (
    OUTCOME_CODES,
    Hold,
    Processes,
    SystemProcesses,
)
from tactful.device.caps.deciding.decide import DecisionRun
from tactful.device.caps.deciding.results import Decision, Denial, Impression, ItemT
from tactful.device.caps.deciding.rule_evaluator import RuleEvaluator
from tactful.device.caps.maintenance import Maintenance
from tactful.device.caps.record_events import (
    at_most_now,
    clamped,
    copy_hold,
    event_at,
    record,
)
from tactful.device.caps.rules.model import LEVEL_CODES, LEVELS, Rules
from tactful.device.caps.rules.subject import CapSubject, Showable
from tactful.device.caps.session import CapSession, WriteTransaction
from tactful.device.caps.timeline.segments import Moment
from tactful.device.clock import Clock
from tactful.device.events import Event, StoredEvent
from tactful.device.vault import BUSY_SECONDS, Vault, VaultBusy
from tactful.errors import InvalidInput, NotStored, VaultDamaged, VaultError

if TYPE_CHECKING:
    from tactful.device.caps.deciding.decision_cache import DecisionCache

Counting = Literal["store", "memory"]
# Reactions that take effect in this process even if the vault cannot store them.
IMMEDIATE_REACTIONS = frozenset({"hide", "report", "dismiss", "dislike"})


@dataclass(frozen=True, slots=True)
class Prefiltered:
    """Result of `prefilter`: for each item in order, if it is allowed now."""

    allowed: tuple[bool, ...]
    reasons: dict[str, str]  # item id to reason code, for items that are not allowed


class CapEngine:
    """Engine that decides if an item may be shown again, and records impressions.

    With `caps="memory"` nothing is written; rules with windows beyond the session then
    deny on interruptive surfaces. `durable` waits for the disk at reservations and
    impressions. `subject` is the profile of the person. Threads and processes may share
    a vault.

    `blocks` has the person's mutes, `clock` canonical time, `explanations` the reasons
    of denials, and `maintenance` expiry and compaction.
    """

    def __init__(
        self,
        vault: Vault,
        clock: Clock,
        rules: Rules | None = None,
        *,
        subject: str = "",
        caps: Counting = "store",
        durable: bool = True,
        processes: Processes | None = None,
    ) -> None:
        self._core = CapCore(
            None if caps == "memory" else vault,
            clock,
            rules or Rules.default(),
            subject=subject,
            durable=durable,
            processes=processes or SystemProcesses(),
        )
        self._cache: DecisionCache | None = None
        self.blocks = BlockControls(self._core)
        self.clock = CapClock(self._core)
        self.explanations = CapExplanations(self._core)
        self.maintenance = Maintenance(self._core)

    def move_to_vault(self, vault: Vault) -> None:
        """Count in `vault` from now on, and copy what this process showed before.

        Reservations stay valid, because a list may be on the screen while the person
        gives consent.
        """
        with self._core.session.read() as (state, _):
            holds = list(state.holds_by_id.values())
        self._move(vault, holds)
        self._core.memory_only = False

    def move_to_memory(self) -> None:
        """Write nothing from now on, because the person refused it.

        What this process showed, and blocks of the person, still count in memory.
        """
        session = self._core.session
        with session.read() as (state, now):
            owner = session.processes.me(now.reading.boot_id)
            holds = [hold for hold in state.holds_by_id.values() if hold.owner == owner]
        self._core.memory_only = True
        self._move(in_memory(), holds)

    def _move(self, vault: Vault, holds: Sequence[Hold]) -> None:
        """Use `vault` from now on, with copies of valid holds, blocks and losses."""
        session = self._core.session
        with session.read() as (state, _):
            mute_rows = state.user_blocks.to_mute_rows()
            losses = list(state.losses)
        self._core.session = CapSession(
            vault, session.clock, session.rules, session.processes
        )
        valid_holds = [
            hold
            for hold in holds
            if not hold.released and (hold.level or not hold.closed)
        ]
        if not (valid_holds or mute_rows or losses):
            return
        with self._core.write() as transaction:
            place = transaction.now.stamp[:2]
            for *_, mode in losses:
                transaction.append_and_apply("loss", [*place, mode])
            for hold in valid_holds:
                new_id = copy_hold(transaction, hold)
                self._core.new_reservation_ids[hold.reservation_id] = new_id
            for *mute_fields, _, _, length_ms in mute_rows:
                fields = [*mute_fields, *place, length_ms]
                transaction.append_and_apply("mute", fields)

    @property
    def memory_only(self) -> bool:
        """True if nothing is written."""
        return self._core.memory_only

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self._core.rules

    def use(self, rules: Rules) -> None:
        """Use other rules from now on; recorded impressions are counted again."""
        self._core.session.use(rules)

    @property
    def waiting(self) -> bool:
        """True if a hide, report or mute could not be stored yet."""
        return bool(self._core.retries)

    def store_unstored(self) -> None:
        """Store what the vault could not store; if it fails again, keep it."""
        self._core.store_unstored()

    def erased(self, reservation_id: str) -> bool:
        """Return True if the reservation existed and the person has erased it."""
        return self._core.erased(reservation_id)

    def decide(
        self,
        candidates: Sequence[ItemT],
        k: int,
        surface: str,
        *,
        max_refill: int | None = None,
        seconds: float = BUSY_SECONDS,
    ) -> Decision[ItemT]:
        """Grant up to `k` of `candidates`, best first, and reserve them.

        A denied candidate is replaced by the next, at most `max_refill` times. All of
        it is one transaction. If the vault is busy for longer than `seconds`, all
        candidates are denied. Raises InvalidInput for an unknown surface.
        """
        self._core.require_surface(surface)
        if k < 0:
            raise InvalidInput("k", f"{k} is not a number of slots", "use 0 or more")
        self._core.store_unstored()
        try:
            with self._core.session.write(
                durable=self._core.durable, seconds=seconds
            ) as transaction:
                state = transaction.state
                context = self._core.context(state, transaction.now, surface)
                cache = self._cache_for(state)
                decision_run = DecisionRun[ItemT](transaction, context, cache)
                return decision_run.run(candidates, k, max_refill)
        except VaultBusy:
            denials = tuple(Denial(item.id, "STORE_BUSY") for item in candidates)
            return Decision("", (), denials)

    def prefilter(self, items: Sequence[Showable], surface: str) -> Prefiltered:
        """Return which of `items` are allowed now; nothing is written or reserved."""
        self._core.require_surface(surface)
        with self._core.session.read() as (state, now):
            evaluator = RuleEvaluator(state, self._core.context(state, now, surface))
            cap_subjects = [CapSubject.of(item) for item in items]
            denials = list(self._cache_for(state).denials(cap_subjects, evaluator))
        reasons = {
            item.id: denial.reason_code
            for item, denial in zip(items, denials, strict=True)
            if denial is not None
        }
        return Prefiltered(tuple(denial is None for denial in denials), reasons)

    def confirm(
        self,
        reservation_id: str,
        evidence: str = "viewable",
        *,
        at: Moment | None = None,
        purpose: str = "essential",
    ) -> Impression:
        """Record that a reserved item was shown.

        It counts even if it is late, and once even if it is repeated. `at` is a handle
        from `moment()`; it is limited to the time since the reservation. Raises
        InvalidInput for a reservation that this vault does not know.
        """
        if evidence not in LEVELS:
            fix = f"use one of {', '.join(LEVELS)}"
            raise InvalidInput("evidence", f"{evidence!r} is not known", fix)
        with self._core.write() as transaction:
            hold = self._core.require_hold(transaction.state, reservation_id)
            if LEVEL_CODES[evidence] <= hold.evidence:
                return _repeated_impression(hold)
            was_closed = hold.closed
            stamp = clamped(transaction, hold, at)
            event = event_at(transaction, stamp, "impression", purpose, hold.subject)
            impression_event = replace(
                event,
                item_id=hold.cap_subject.item,
                reservation_id=hold.reservation_id,
                evidence=evidence,
                late=was_closed,
            )
            record(transaction, impression_event)
            return Impression(
                hold.reservation_id,
                hold.cap_subject.item,
                evidence,
                late=was_closed,
                repeated=False,
                overrun=self._overrun(transaction, hold),
            )

    def release(self, reservation_id: str, reason: str = "") -> bool:
        """Return a reservation that was never shown.

        Returns False if it was shown, was released, or has expired.
        """
        with self._core.write() as transaction:
            hold = self._core.require_hold(transaction.state, reservation_id)
            if hold.closed or hold.evidence:
                return False
            row = [*hold.id, OUTCOME_CODES["released"], 0, 0]
            transaction.append_and_apply("close", [[row]])
            return True

    def interact(
        self,
        event: Event,
        item: Showable | None = None,
        *,
        at: Moment | None = None,
        purpose: str = "essential",
    ) -> StoredEvent:
        """Record a reaction and return it as stored.

        Without a known reservation or `item` it is stored but does not count. The same
        `event_id` is recorded once. Hiding a category must be `confirmed`. Raises
        NotStored if the vault cannot store it; a hide, report or dismissal then still
        takes effect in this process.
        """
        if event.kind == "hide" and event.scope == "category" and not event.confirmed:
            raise InvalidInput(
                "event.confirmed",
                "hiding a whole category needs a second tap",
                "ask once more, then pass confirmed=True",
            )
        try:
            return self._record_reaction(event, item, at, purpose)
        except VaultDamaged:
            raise
        except VaultError as vault_error:
            if event.kind in IMMEDIATE_REACTIONS:
                moment = at or self.clock.moment()
                self.blocks.block_unstored(event, item, moment)
                self._core.retries.append(
                    lambda: self.interact(event, item, at=moment, purpose=purpose)
                )
                raise NotStored.of(f"event {event.kind}", vault_error) from vault_error
            raise

    def _record_reaction(
        self, event: Event, item: Showable | None, at: Moment | None, purpose: str
    ) -> StoredEvent:
        with self._core.write() as transaction:
            hold = self._core.find_hold(transaction.state, event.reservation_id)
            stamp = (
                clamped(transaction, hold, at) if hold else at_most_now(transaction, at)
            )
            stored_event = replace(
                event_at(transaction, stamp, event.kind, purpose, self._core.subject),
                item_id=event.item_id or (hold.cap_subject.item if hold else None),
                reservation_id=event.reservation_id,
                value=event.value,
                scope=event.scope,
                surface=event.surface,
            )
            if hold is None and item is not None:
                cap_subject = CapSubject.of(item)
                [number] = transaction.cap_subject_numbers([cap_subject])
                stored_event = replace(stored_event, cap_subject=number)
            record(transaction, stored_event, event_id=event.event_id)
            return stored_event

    def record(
        self, event: Event, item: Showable | None = None, *, purpose: str = "essential"
    ) -> StoredEvent | Impression:
        """Record any event: an impression by `confirm`, others by `interact`."""
        if event.kind == "impression" and event.reservation_id is not None:
            return self.confirm(
                event.reservation_id, event.evidence or "viewable", purpose=purpose
            )
        return self.interact(event, item, purpose=purpose)

    def _cache_for(self, state: CounterState) -> DecisionCache:
        """Return the decision cache over `state`."""
        from tactful.device.caps.deciding.decision_cache import DecisionCache

        cache = self._cache
        if cache is None or cache.state is not state or cache.full:
            cache = self._cache = DecisionCache(state)
        return cache

    def _overrun(self, transaction: WriteTransaction, hold: Hold) -> tuple[str, ...]:
        """Return the ids of the rules that are above their limit for the item."""
        context = self._core.context(transaction.state, transaction.now, hold.surface)
        evaluator = RuleEvaluator(transaction.state, context)
        return tuple(
            allowance.rule_id
            for allowance in evaluator.allowances(hold.cap_subject)
            if allowance.left is not None and allowance.left < 0
        )


def _repeated_impression(hold: Hold) -> Impression:
    return Impression(
        hold.reservation_id,
        hold.cap_subject.item,
        LEVELS[hold.evidence - 1],
        late=hold.late,
        repeated=True,
    )
