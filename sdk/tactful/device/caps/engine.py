"""Engine of frequency caps: decide, reserve, confirm, release, and record reactions."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Literal

from tactful.device import checks
from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import (
    OUTCOME_CODES,
    Hold,
    Processes,
    SystemProcesses,
    hold_id,
)
from tactful.device.caps.counting.user_blocks import MUTE_MS, SCOPES, Block
from tactful.device.caps.deciding.decide import DecisionRun
from tactful.device.caps.deciding.explain_denial import RuleDenial
from tactful.device.caps.deciding.remaining import DecisionContext
from tactful.device.caps.deciding.results import Decision, Denial, Impression, ItemT
from tactful.device.caps.deciding.rule_evaluator import Allowance, RuleEvaluator
from tactful.device.caps.record_events import (
    at_most_now,
    clamped,
    copy_hold,
    event_at,
    record,
)
from tactful.device.caps.rules.model import LEVEL_CODES, LEVELS, QuietHours, Rules
from tactful.device.caps.rules.subject import CapSubject, Showable
from tactful.device.caps.session import (
    CapSession,
    Instant,
    TimeAnchor,
    WriteTransaction,
)
from tactful.device.caps.timeline.segments import BUDGET, FULL, VERIFIED, Moment
from tactful.device.clock import Clock
from tactful.device.device_key import KEY_BYTES, HostKey
from tactful.device.events import Event, StoredEvent
from tactful.device.vault import BUSY_SECONDS, Vault, VaultBusy
from tactful.errors import InvalidInput, NotStored, VaultDamaged, VaultError

if TYPE_CHECKING:
    from tactful.device.caps.deciding.decision_cache import DecisionCache

Keeping = Literal["store", "memory"]
Loss = Literal["half", "closed"]
# Reactions that take effect in this process even if the vault cannot store them.
IMMEDIATE_REACTIONS = frozenset({"hide", "report", "dismiss", "dislike"})
MAX_CACHED_SUBJECTS = 200_000


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
    """

    def __init__(
        self,
        vault: Vault,
        clock: Clock,
        rules: Rules | None = None,
        *,
        subject: str = "",
        caps: Keeping = "store",
        durable: bool = True,
        processes: Processes | None = None,
    ) -> None:
        self._memory_only = caps == "memory"
        self._durable = durable
        self._subject = subject
        self._session = CapSession(
            _in_memory() if self._memory_only else vault,
            clock,
            rules or Rules.default(),
            processes or SystemProcesses(),
        )
        # By id of the object; the object itself is kept, so that its id stays unique.
        self._cap_subjects: dict[int, tuple[Showable, CapSubject]] = {}
        # Reservation ids of another vault to those of the current one.
        self._new_reservation_ids: dict[str, str] = {}
        self._cache: DecisionCache | None = None
        # Calls that store blocks again which the vault could not store.
        self._retries: list[Callable[[], object]] = []

    def keep(self, vault: Vault) -> None:
        """Count in `vault` from now on, and copy what this process showed before.

        Reservations stay valid, because a list may be on the screen while the person
        gives consent.
        """
        with self._session.read() as (state, _):
            holds = list(state.holds_by_id.values())
        self._move(vault, holds)
        self._memory_only = False

    def leave_vault(self) -> None:
        """Write nothing from now on, because the person refused it.

        What this process showed, and blocks of the person, still count in memory.
        """
        with self._session.read() as (state, now):
            owner = self._session.processes.me(now.reading.boot_id)
            holds = [hold for hold in state.holds_by_id.values() if hold.owner == owner]
        self._memory_only = True
        self._move(_in_memory(), holds)

    def _move(self, vault: Vault, holds: Sequence[Hold]) -> None:
        """Use `vault` from now on, with copies of valid holds, blocks and losses."""
        session = self._session
        with session.read() as (state, _):
            mute_rows = state.user_blocks.to_mute_rows()
            losses = list(state.losses)
        self._session = CapSession(
            vault, session.clock, session.rules, session.processes
        )
        valid_holds = [
            hold
            for hold in holds
            if not hold.released and (hold.level or not hold.closed)
        ]
        if not (valid_holds or mute_rows or losses):
            return
        with self._write() as transaction:
            place = transaction.now.stamp[:2]
            for *_, mode in losses:
                transaction.append_and_apply("loss", [*place, mode])
            for hold in valid_holds:
                new_id = copy_hold(transaction, hold)
                self._new_reservation_ids[hold.reservation_id] = new_id
            for *mute_fields, _, _, length_ms in mute_rows:
                fields = [*mute_fields, *place, length_ms]
                transaction.append_and_apply("mute", fields)

    @property
    def memory_only(self) -> bool:
        """True if nothing is written."""
        return self._memory_only

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self._session.rules

    def use(self, rules: Rules) -> None:
        """Use other rules from now on; recorded impressions are counted again."""
        self._session.use(rules)

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
        self._require_surface(surface)
        if k < 0:
            raise InvalidInput("k", f"{k} is no number of slots", "use 0 or more")
        self.store_waiting()
        try:
            with self._session.write(
                durable=self._durable, seconds=seconds
            ) as transaction:
                state = transaction.state
                context = self._context(state, transaction.now, surface)
                cache = self._cache_for(state)
                decision_run = DecisionRun[ItemT](
                    transaction, context, cache, self.cap_subject_of
                )
                return decision_run.run(candidates, k, max_refill)
        except VaultBusy:
            denials = tuple(Denial(item.id, "STORE_BUSY") for item in candidates)
            return Decision("", (), denials)

    def prefilter(self, items: Sequence[Showable], surface: str) -> Prefiltered:
        """Return which of `items` are allowed now; nothing is written or reserved."""
        self._require_surface(surface)
        with self._session.read() as (state, now):
            evaluator = RuleEvaluator(state, self._context(state, now, surface))
            cap_subjects = [self.cap_subject_of(item) for item in items]
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
        with self._write() as transaction:
            hold = self._require_hold(transaction.state, reservation_id)
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
        with self._write() as transaction:
            hold = self._require_hold(transaction.state, reservation_id)
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
                self._block_unstored(event, item, at or self.moment(), purpose)
                raise NotStored.of(f"event {event.kind}", vault_error) from vault_error
            raise

    def _record_reaction(
        self, event: Event, item: Showable | None, at: Moment | None, purpose: str
    ) -> StoredEvent:
        with self._write() as transaction:
            hold = self._find_hold(transaction.state, event.reservation_id)
            stamp = (
                clamped(transaction, hold, at) if hold else at_most_now(transaction, at)
            )
            stored_event = replace(
                event_at(transaction, stamp, event.kind, purpose, self._subject),
                item_id=event.item_id or (hold.cap_subject.item if hold else None),
                reservation_id=event.reservation_id,
                value=event.value,
                scope=event.scope,
                surface=event.surface,
            )
            number = None
            if hold is None and item is not None:
                cap_subject = self.cap_subject_of(item)
                [number] = transaction.cap_subject_numbers([cap_subject])
            record(
                transaction,
                stored_event,
                event_id=event.event_id,
                cap_subject_number=number,
            )
            return stored_event

    def mute(self, scope: str, value: str, *, for_ms: int | None = MUTE_MS) -> None:
        """Show nothing whose `scope` is `value`, for 90 days or for `for_ms`.

        None lasts until the person undoes it. Raises NotStored if the vault cannot
        store it; it then still takes effect in this process.
        """
        _require_scope(scope)
        checks.text("value", value, most=inf)
        if for_ms is not None and for_ms < 1:
            raise InvalidInput(
                "for_ms", f"{for_ms} is no length", "use 1 or more, or None"
            )
        try:
            with self._write() as transaction:
                place = transaction.now.stamp[:2]
                fields = [self._subject, scope, value, True, *place, for_ms]
                transaction.append_and_apply("mute", fields)
        except VaultDamaged:
            raise
        except VaultError as vault_error:
            now = self.moment()
            block = Block(now.segment, now.offset, for_ms, "NOT_INTERESTED")
            self._session.unstored.mute((self._subject, scope, value), block)
            self._retries.append(lambda: self.mute(scope, value, for_ms=for_ms))
            raise NotStored.of("mute", vault_error) from vault_error

    def muted(self) -> list[tuple[str, str]]:
        """Return every (scope, value) that the person hid or muted and did not undo."""
        return self._session.recorded_state().user_blocks.muted(self._subject)

    def lasting(self) -> list[list[object]]:
        """Return all hides and mutes as fields of `mute` records that restore them.

        Mutes that have ended stay ended. Reported items are muted without an end.
        """
        return self._session.recorded_state().user_blocks.to_mute_rows()

    def unmute(self, scope: str, value: str) -> None:
        """Undo a hide or mute: `scope` is item, brand, category, ..."""
        _require_scope(scope)
        # A mute that waits to be stored must not be stored after this.
        self.store_waiting()
        with self._write() as transaction:
            place = transaction.now.stamp[:2]
            fields = [self._subject, scope, value, False, *place, None]
            transaction.append_and_apply("mute", fields)

    def record(
        self, event: Event, item: Showable | None = None, *, purpose: str = "essential"
    ) -> StoredEvent | Impression:
        """Record any event: an impression by `confirm`, others by `interact`."""
        if event.kind == "impression" and event.reservation_id is not None:
            return self.confirm(
                event.reservation_id, event.evidence or "viewable", purpose=purpose
            )
        return self.interact(event, item, purpose=purpose)

    def expire(self) -> int:
        """Close expired reservations and return how many there were."""
        with self._write() as transaction:
            return transaction.expired_count

    def fold_away(self) -> int:
        """Compact the vault and return the number of records that were erased.

        Impressions become daily totals after 90 days, or a week after the longest
        window.
        """
        from tactful.device.caps.compaction import compact

        with self._write() as transaction:
            erased_count = compact(transaction, self.rules)
        if erased_count:
            self.use(self.rules)
            self._session.vault.scrub()
        return erased_count

    def session_start(self) -> None:
        """Start a new session now, whatever the gap."""
        with self._write() as transaction:
            fields = transaction.stamp_fields(transaction.now.stamp)
            transaction.append_and_apply("session", fields)

    def lost(self, mode: Loss) -> None:
        """Record that earlier impressions were lost.

        For a day, half of each limit (`half`) or all of it (`closed`) counts as used;
        under lifetime limits, until the loss is erased.
        """
        with self._write() as transaction:
            place = transaction.now.stamp[:2]
            transaction.append_and_apply("loss", [*place, mode])

    def anchor(self, stamp: TimeAnchor) -> None:
        """Correct canonical time by a trusted stamp; past events move with it.

        Raises InvalidInput (ANCHOR_CONFLICT) for a stamp that cannot be true.
        """
        self._session.anchor(stamp)

    def moment(self) -> Moment:
        """Return a handle for now, to say later when an event happened."""
        with self._session.read() as (_, now):
            return Moment(now.stamp.segment, now.stamp.offset)

    def now_ms(self) -> int:
        """Return the canonical time of events now, in unix ms; nothing is written.

        Inside a boot, a changed wall clock does not alter it.
        """
        with self._session.read() as (_, now):
            return now.ms(FULL)

    def ledger_time(self) -> tuple[int, int]:
        """Return the time since the vault began and the time now, in milliseconds.

        Neither the app nor its operator can advance it; the second is unix time. A boot
        not seen before is recorded.
        """
        with self._write() as transaction:
            now_ms = transaction.now.ms(BUDGET)
            start_ms = transaction.now.timeline.segments[0].base[BUDGET]
            return now_ms - start_ms, now_ms

    def why_not(self, item: Showable, surface: str) -> tuple[Denial, ...]:
        """Return every reason why `item` is denied now; empty if it is allowed."""
        return self.simulate(item, surface, ahead_ms=0)

    def simulate(
        self, item: Showable, surface: str, *, ahead_ms: int
    ) -> tuple[Denial, ...]:
        """Return every reason why `item` is denied `ahead_ms` from now.

        It assumes that nothing else happens until then; nothing is written.
        """
        self._require_surface(surface)
        with self._session.read() as (state, now):
            context = self._context(state, now, surface, ahead_ms)
            evaluator = RuleEvaluator(state, context)
            cap_subject = self.cap_subject_of(item)
            denials = [
                *evaluator.denials(cap_subject),
                *evaluator.every_nth_denials(cap_subject),
            ]
            return tuple(self._denial(item.id, denial, context) for denial in denials)

    def headroom(self, item: Showable, surface: str) -> tuple[Allowance, ...]:
        """Return what each rule has used and left for `item`; nothing is written."""
        self._require_surface(surface)
        with self._session.read() as (state, now):
            evaluator = RuleEvaluator(state, self._context(state, now, surface))
            return tuple(evaluator.allowances(self.cap_subject_of(item)))

    def cap_subject_of(self, item: Showable) -> CapSubject:
        """Return the attributes of `item`, read once for each object."""
        cached = self._cap_subjects.get(id(item))
        if cached is None or cached[0] is not item:
            if len(self._cap_subjects) > MAX_CACHED_SUBJECTS:
                self._cap_subjects.clear()
            cached = self._cap_subjects[id(item)] = (item, CapSubject.of(item))
        return cached[1]

    def _cache_for(self, state: CounterState) -> DecisionCache:
        """Return the decision cache over `state`."""
        from tactful.device.caps.deciding.decision_cache import DecisionCache

        cache = self._cache
        if cache is None or cache.state is not state or cache.full:
            cache = self._cache = DecisionCache(state)
        return cache

    @property
    def waiting(self) -> bool:
        """True if a hide, report or mute could not be stored yet."""
        return bool(self._retries)

    def store_waiting(self) -> None:
        """Store what the vault could not store; if it fails again, it still waits."""
        if not self._retries:
            return
        retries, self._retries = self._retries, []
        for number, retry in enumerate(retries):
            try:
                retry()  # adds itself to `_retries` again where it fails
            except VaultError:
                self._retries += retries[number + 1 :]
                return
        self._session.unstored.clear()

    def _block_unstored(
        self, event: Event, item: Showable | None, at: Moment, purpose: str
    ) -> None:
        """Let a reaction take effect in this process until it is stored."""
        with self._session.read() as (state, _):
            hold = self._find_hold(state, event.reservation_id)
        cap_subject = None
        if hold:
            cap_subject = hold.cap_subject
        elif item is not None:
            cap_subject = self.cap_subject_of(item)
        if cap_subject is not None:
            self._session.unstored.add_reaction(
                event.kind,
                cap_subject,
                self._subject,
                (at.segment, at.offset),
                event.scope or "item",
                event.surface or (hold.surface if hold else ""),
            )
        self._retries.append(lambda: self.interact(event, item, at=at, purpose=purpose))

    def _write(self) -> AbstractContextManager[WriteTransaction]:
        self.store_waiting()
        return self._session.write(durable=self._durable, seconds=BUSY_SECONDS)

    def _context(
        self, state: CounterState, now: Instant, surface: str, ahead_ms: int = 0
    ) -> DecisionContext:
        wall_ms = now.reading.wall_ms + ahead_ms
        return DecisionContext(
            surface=surface,
            subject=self._subject,
            interruptive=self.rules.surface(surface).interruptive,
            times=self._session.rule_instants(state, now, ahead_ms),
            wall_ms=wall_ms,
            civil_ms=_civil_times(now, wall_ms, ahead_ms),
            jitter=self._jitter_ms,
            memory_only=self._memory_only,
        )

    def _jitter_ms(self, quiet: QuietHours) -> int:
        """Return a delay that is always the same for one vault and one quiet rule.

        It keeps devices from interrupting all at once when quiet hours end.
        """
        digest = self._session.vault.blind(f"quiet {quiet.id}")
        number = int.from_bytes(digest[:8], "big")
        return number % (quiet.jitter_ms + 1)

    def _denial(
        self, item_id: str, denial: RuleDenial, context: DecisionContext
    ) -> Denial:
        now = context.times[denial.timeline(self.rules)]
        return Denial.of(item_id, denial, context.wall_ms, now.ms)

    def _require_surface(self, surface: str) -> None:
        surfaces = self.rules.surfaces
        if surfaces and surface not in surfaces:
            fix = f"use one of {', '.join(surfaces)}, or add it to the rules"
            raise InvalidInput("surface", f"{surface!r} is not in the rules", fix)

    def erased(self, reservation_id: str) -> bool:
        """Return True if the reservation existed and the person has erased it."""
        current_id = self._new_reservation_ids.get(reservation_id, reservation_id)
        id_of_hold = hold_id(current_id)
        return id_of_hold is not None and self._session.vault.erased(id_of_hold[0])

    def _find_hold(
        self, state: CounterState, reservation_id: str | None
    ) -> Hold | None:
        if reservation_id is None:
            return None
        current_id = self._new_reservation_ids.get(reservation_id, reservation_id)
        id_of_hold = hold_id(current_id)
        return state.find_hold(id_of_hold) if id_of_hold else None

    def _require_hold(self, state: CounterState, reservation_id: str) -> Hold:
        hold = self._find_hold(state, reservation_id)
        if hold is None:
            raise InvalidInput(
                "reservation_id",
                f"{reservation_id!r} is not known",
                "use the one of a pick",
            )
        return hold

    def _overrun(self, transaction: WriteTransaction, hold: Hold) -> tuple[str, ...]:
        """Return the ids of the rules that are above their limit for the item."""
        context = self._context(transaction.state, transaction.now, hold.surface)
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


def _in_memory() -> Vault:
    return Vault.open(None, HostKey(secrets.token_bytes(KEY_BYTES)))


def _civil_times(now: Instant, wall_ms: int, ahead_ms: int) -> tuple[int, ...]:
    """Return the wall clock, and the verified time if a stamp came in this boot."""
    segment = now.timeline.segments[now.stamp.segment]
    if segment.verified:
        return wall_ms, now.ms(VERIFIED) + ahead_ms
    return (wall_ms,)


def _require_scope(scope: str) -> None:
    if scope not in SCOPES:
        raise InvalidInput(
            "scope", f"{scope!r} is not known", f"use one of {', '.join(SCOPES)}"
        )
