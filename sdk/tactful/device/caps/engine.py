"""The repetition-cap engine: decide and reserve in one transaction, confirm, release, react."""

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
    carried,
    clamped,
    record,
    stored,
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
HOLDS_AT_ONCE = frozenset(
    {"hide", "report", "dismiss", "dislike"}
)  # whatever the disk does


@dataclass(frozen=True, slots=True)
class Prefiltered:
    """Which of the items handed in may be shown now, in the same order, and why not the others."""

    allowed: tuple[bool, ...]
    reasons: dict[str, str]  # item id to reason code


class CapEngine:
    """Decides whether an item may be shown again, and records what was shown.

    `caps="memory"` writes nothing: rules beyond the session then deny on interruptive surfaces.
    `durable` waits for the disk at holds and impressions. Threads and processes may share a vault.
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
        if caps == "memory":
            vault = _in_memory()
        self._memory_only, self._durable, self._subject = (
            caps == "memory",
            durable,
            subject,
        )
        self._desk = CapSession(
            vault, clock, rules or Rules.default(), processes or SystemProcesses()
        )
        self._things: dict[int, tuple[Showable, CapSubject]] = {}
        self._moved: dict[
            str, str
        ] = {}  # reservations made in memory: their names in the vault
        self._board: DecisionCache | None = None
        self._waiting: list[Callable[[], object]] = []  # refusals to store again

    def keep(self, vault: Vault) -> None:
        """From now on count in `vault`, and with it what this process showed before.

        A list may be on the screen while the person answers: its reservations stay good.
        """
        with self._desk.looking() as (before, _):
            shows = list(before.shows.values())
        self._move(vault, shows)
        self._memory_only = False

    def leave_vault(self) -> None:
        """From now on write nothing: the person refused it.

        What this process showed and what is hidden still counts, in memory.
        """
        with self._desk.looking() as (before, now):
            owner = self._desk.processes.me(now.reading.boot_id)
            shows = [hold for hold in before.shows.values() if hold.owner == owner]
        self._memory_only = True
        self._move(_in_memory(), shows)

    def _move(self, vault: Vault, shows: Sequence[Hold]) -> None:
        desk = self._desk
        with desk.looking() as (before, _):
            hidden, losses = before.feedback.lasting(), list(before.losses)
        self._desk = CapSession(vault, desk.clock, desk.rules, desk.processes)
        good = [
            hold
            for hold in shows
            if not hold.released and (hold.level or not hold.closed)
        ]
        if good or hidden or losses:
            with self._writing() as writing:
                for *_, mode in losses:
                    writing.put("loss", [*writing.now.stamp[:2], mode])
                self._moved |= {hold.name: carried(writing, hold) for hold in good}
                place = writing.now.stamp[:2]
                for *what, _, _, length in hidden:
                    writing.put("mute", [*what, *place, length])

    @property
    def memory_only(self) -> bool:
        """Whether nothing is written."""
        return self._memory_only

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self._desk.rules

    def use(self, rules: Rules) -> None:
        """Judge by other rules from now on; what was shown stays known and is counted anew."""
        self._desk.use(rules)

    def decide(
        self,
        candidates: Sequence[ItemT],
        k: int,
        surface: str,
        *,
        max_refill: int | None = None,
        seconds: float = BUSY_SECONDS,
    ) -> Decision[ItemT]:
        """Grant up to `k` of `candidates`, best first, and reserve them, all in one transaction.

        A refused candidate yields to the next, at most `max_refill` times. If the vault is busy for
        longer than `seconds` all are refused. Raises InvalidInput for an unknown surface.
        """
        self._require_surface(surface)
        if k < 0:
            raise InvalidInput("k", f"{k} is no number of slots", "use 0 or more")
        self.store_waiting()
        try:
            with self._desk.writing(durable=self._durable, seconds=seconds) as writing:
                here = self._here(writing.state, writing.now, surface)
                board = self.board(writing.state)
                deciding = DecisionRun[ItemT](writing, here, board, self.thing)
                return deciding.run(candidates, k, max_refill)
        except VaultBusy:
            denials = tuple(Denial(item.id, "STORE_BUSY") for item in candidates)
            return Decision("", (), denials)

    def prefilter(self, items: Sequence[Showable], surface: str) -> Prefiltered:
        """Which of `items` may be shown now; reads only, and promises nothing."""
        self._require_surface(surface)
        with self._desk.looking() as (state, now):
            judge = RuleEvaluator(state, self._here(state, now, surface))
            things = [self.thing(item) for item in items]
            found = list(self.board(state).refusals(things, judge))
        reasons = {
            item.id: refusal.reason_code
            for item, refusal in zip(items, found, strict=True)
            if refusal is not None
        }
        return Prefiltered(tuple(refusal is None for refusal in found), reasons)

    def confirm(
        self,
        reservation_id: str,
        evidence: str = "viewable",
        *,
        at: Moment | None = None,
        purpose: str = "essential",
    ) -> Impression:
        """Record that a reserved item was shown; counted even if late, once however often told.

        `at` is a handle from `moment()`; it is moved into the time since the reservation. Raises
        InvalidInput for a reservation this vault does not know.
        """
        if evidence not in LEVELS:
            fix = f"use one of {', '.join(LEVELS)}"
            raise InvalidInput("evidence", f"{evidence!r} is not known", fix)
        with self._writing() as writing:
            hold = self._known(writing.state, reservation_id)
            level = LEVEL_CODES[evidence]
            if level <= hold.evidence:
                return Impression(
                    hold.name,
                    hold.thing.item,
                    LEVELS[hold.evidence - 1],
                    hold.late,
                    True,
                )
            late = hold.closed
            stamp = clamped(writing, hold, at)
            event = stored(writing, stamp, "impression", purpose, hold.subject)
            event = replace(
                event,
                item_id=hold.thing.item,
                reservation_id=hold.name,
                evidence=evidence,
                late=late,
            )
            record(writing, event)
            overrun = self._overrun(writing, hold)
            return Impression(
                hold.name, hold.thing.item, evidence, late, False, overrun
            )

    def release(self, reservation_id: str, reason: str = "") -> bool:
        """Give a slot back that was never drawn; False if it was shown, released or has expired."""
        with self._writing() as writing:
            hold = self._known(writing.state, reservation_id)
            if hold.closed or hold.evidence:
                return False
            row = [*hold.id, OUTCOME_CODES["released"], 0, 0]
            writing.put("close", [[row]])
            return True

    def interact(
        self,
        event: Event,
        item: Showable | None = None,
        *,
        at: Moment | None = None,
        purpose: str = "essential",
    ) -> StoredEvent:
        """Record a reaction; one without a known reservation or `item` is kept but counts nothing.

        Telling the same `event_id` twice records it once. Hiding a category must be `confirmed`.
        """
        if event.kind == "hide" and event.scope == "category" and not event.confirmed:
            raise InvalidInput(
                "event.confirmed",
                "hiding a whole category needs a second tap",
                "ask once more, then pass confirmed=True",
            )
        try:
            return self._react(event, item, at, purpose)
        except VaultDamaged:
            raise
        except VaultError as refused:
            if event.kind in HOLDS_AT_ONCE:
                self._withhold(event, item, at or self.moment(), purpose)
                raise NotStored.of(f"event {event.kind}", refused) from refused
            raise

    def _react(
        self, event: Event, item: Showable | None, at: Moment | None, purpose: str
    ) -> StoredEvent:
        with self._writing() as writing:
            hold = self._held(writing.state, event.reservation_id)
            stamp = clamped(writing, hold, at) if hold else at_most_now(writing, at)
            told = replace(
                stored(writing, stamp, event.kind, purpose, self._subject),
                item_id=event.item_id or (hold.thing.item if hold else None),
                reservation_id=event.reservation_id,
                value=event.value,
                scope=event.scope,
                surface=event.surface,
            )
            number = None
            if hold is None and item is not None:
                [number] = writing.thing_numbers([self.thing(item)])
            record(writing, told, name=event.event_id, number=number)
            return told

    def mute(self, scope: str, value: str, *, for_ms: int | None = MUTE_MS) -> None:
        """Show nothing whose `scope` is `value`, for 90 days; `for_ms` None is until taken back."""
        _require_scope(scope)
        checks.text("value", value, most=inf)
        if for_ms is not None and for_ms < 1:
            raise InvalidInput(
                "for_ms", f"{for_ms} is no length", "use 1 or more, or None"
            )
        try:
            with self._writing() as writing:
                place = writing.now.stamp[:2]
                writing.put("mute", [self._subject, scope, value, True, *place, for_ms])
        except VaultDamaged:
            raise
        except VaultError as refused:
            at = self.moment()
            block = Block(at.segment, at.offset, for_ms, "NOT_INTERESTED")
            self._desk.unstored.mute((self._subject, scope, value), block)
            self._waiting.append(lambda: self.mute(scope, value, for_ms=for_ms))
            raise NotStored.of("mute", refused) from refused

    def muted(self) -> list[tuple[str, str]]:
        """Every (scope, value) that the person hid or muted and did not take back."""
        return self._desk.facts().feedback.muted(self._subject)

    def lasting(self) -> list[list[object]]:
        """What the person never wants to see again, as rows of records that say so anew.

        Hides that are over stay over; what was reported counts as hidden for good.
        """
        return self._desk.facts().feedback.lasting()

    def unmute(self, scope: str, value: str) -> None:
        """Take back what the person hid or muted: `scope` is item, brand, category, ..."""
        _require_scope(scope)
        self.store_waiting()  # so that what is taken back is not stored later
        with self._writing() as writing:
            place = writing.now.stamp[:2]
            writing.put("mute", [self._subject, scope, value, False, *place, None])

    def record(
        self, event: Event, item: Showable | None = None, *, purpose: str = "essential"
    ) -> StoredEvent | Impression:
        """The one door for events: an impression confirms its reservation, all others interact."""
        if event.kind == "impression" and event.reservation_id is not None:
            return self.confirm(
                event.reservation_id, event.evidence or "viewable", purpose=purpose
            )
        return self.interact(event, item, purpose=purpose)

    def sweep(self) -> int:
        """End reservations whose time is over; returns how many were."""
        with self._writing() as writing:
            return writing.ended

    def fold_away(self) -> int:
        """Replace what no window looks at any more by daily totals; returns how many records went.

        Shows are kept for 90 days, or a week longer than the longest window.
        """
        from tactful.device.caps.compaction import fold_away

        with self._writing() as writing:
            gone = fold_away(writing, self.rules)
        if gone:
            self.use(self.rules)
            self._desk.vault.scrub()
        return gone

    def session_start(self) -> None:
        """Begin a new session now, whatever the gap."""
        with self._writing() as writing:
            writing.put("session", writing.when(writing.now.stamp))

    def lost(self, mode: Loss) -> None:
        """Note that earlier shows were lost: for a day part of each limit counts as used.

        `half` of it, or all of it (`closed`); lifetime limits until they are erased.
        """
        with self._writing() as writing:
            writing.put("loss", [*writing.now.stamp[:2], mode])

    def anchor(self, stamp: TimeAnchor) -> None:
        """Correct the device's idea of time by a trusted stamp; past shows move with it.

        Raises InvalidInput (ANCHOR_CONFLICT) for a stamp that cannot be true.
        """
        self._desk.anchor(stamp)

    def moment(self) -> Moment:
        """A handle for now, to say later when something happened."""
        with self._desk.looking() as (_, now):
            return Moment(now.stamp.segment, now.stamp.offset)

    def now_ms(self) -> int:
        """The time that events are dated by, unix ms: inside a boot no clock that is set moves it.

        Nothing is written.
        """
        with self._desk.looking() as (_, now):
            return now.ms(FULL)

    def ledger_time(self) -> tuple[int, int]:
        """(time since the vault began, time now) that no clock of app or operator can hasten.

        In milliseconds, the second as unix time; a boot not seen before is written down.
        """
        with self._writing() as writing:
            now = writing.now.ms(BUDGET)
            return now - writing.now.timeline.segments[0].base[BUDGET], now

    def why_not(self, item: Showable, surface: str) -> tuple[Denial, ...]:
        """Every reason why `item` may not be shown now; empty if it may. No side effects."""
        return self.simulate(item, surface, ahead_ms=0)

    def simulate(
        self, item: Showable, surface: str, *, ahead_ms: int
    ) -> tuple[Denial, ...]:
        """Every reason why `item` may not be shown `ahead_ms` from now, if nothing else happens."""
        self._require_surface(surface)
        with self._desk.looking() as (state, now):
            here = self._here(state, now, surface, ahead_ms)
            judge, thing = RuleEvaluator(state, here), self.thing(item)
            refusals = [*judge.refusals(thing), *judge.pace(thing)]
            return tuple(self._denial(item.id, refusal, here) for refusal in refusals)

    def headroom(self, item: Showable, surface: str) -> tuple[Allowance, ...]:
        """What each rule has used for `item`, and leaves. No side effects."""
        self._require_surface(surface)
        with self._desk.looking() as (state, now):
            judge = RuleEvaluator(state, self._here(state, now, surface))
            return tuple(judge.rooms(self.thing(item)))

    def thing(self, item: Showable) -> CapSubject:
        """The attributes of `item`, read once per object."""
        known = self._things.get(id(item))
        if known is None or known[0] is not item:
            if len(self._things) > 200_000:
                self._things.clear()
            known = self._things[id(item)] = (item, CapSubject.of(item))
        return known[1]

    def board(self, state: CounterState) -> DecisionCache:
        """The table of verdicts over `state`."""
        from tactful.device.caps.deciding.decision_cache import DecisionCache

        if self._board is None or self._board.state is not state or self._board.full:
            self._board = DecisionCache(state)
        return self._board

    @property
    def waiting(self) -> bool:
        """Whether a refusal of the person could not be stored yet."""
        return bool(self._waiting)

    def store_waiting(self) -> None:
        """Try again to store what the vault refused; what it refuses again holds on in memory."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for number, again in enumerate(waiting):
            try:
                again()  # puts itself back where it fails
            except VaultError:
                self._waiting += waiting[number + 1 :]
                return
        self._desk.unstored.clear()

    def _withhold(
        self, event: Event, item: Showable | None, at: Moment, purpose: str
    ) -> None:
        """Let a refusal hold in this process until it is stored."""
        with self._desk.looking() as (state, _):
            hold = self._held(state, event.reservation_id)
        thing = hold.thing if hold else None if item is None else self.thing(item)
        if thing is not None:
            place, scope = (at.segment, at.offset), event.scope or "item"
            surface = event.surface or (hold.surface if hold else "")
            self._desk.unstored.take(
                event.kind, thing, self._subject, place, scope, surface
            )
        self._waiting.append(lambda: self.interact(event, item, at=at, purpose=purpose))

    def _writing(self) -> AbstractContextManager[WriteTransaction]:
        self.store_waiting()
        return self._desk.writing(durable=self._durable, seconds=BUSY_SECONDS)

    def _here(
        self, state: CounterState, now: Instant, surface: str, ahead_ms: int = 0
    ) -> DecisionContext:
        civil = now.reading.wall_ms + ahead_ms
        return DecisionContext(
            surface=surface,
            subject=self._subject,
            interruptive=self.rules.surface(surface).interruptive,
            times=self._desk.now(state, now, ahead_ms),
            wall_ms=civil,
            civil_ms=_civil(now, civil, ahead_ms),
            jitter=self._jitter,
            memory_only=self._memory_only,
        )

    def _jitter(self, quiet: QuietHours) -> int:
        """The same for one person and one quiet rule, so that all devices do not wake at once."""
        number = int.from_bytes(self._desk.vault.blind(f"quiet {quiet.id}")[:8], "big")
        return number % (quiet.jitter_ms + 1)

    def _denial(
        self, item_id: str, refusal: RuleDenial, here: DecisionContext
    ) -> Denial:
        now = here.times[refusal.timeline(self.rules)]
        return Denial.of(item_id, refusal, here.wall_ms, now.ms)

    def _require_surface(self, surface: str) -> None:
        known = self.rules.surfaces
        if known and surface not in known:
            fix = f"use one of {', '.join(known)}, or add it to the rules"
            raise InvalidInput("surface", f"{surface!r} is not in the rules", fix)

    def erased(self, reservation_id: str) -> bool:
        """Whether there was such a reservation and the person erased it since."""
        name = hold_id(self._moved.get(reservation_id, reservation_id))
        return name is not None and self._desk.vault.erased(name[0])

    def _held(self, state: CounterState, reservation_id: str | None) -> Hold | None:
        told = reservation_id or ""
        name = hold_id(self._moved.get(told, told))
        return state.show(name) if name else None

    def _known(self, state: CounterState, reservation_id: str) -> Hold:
        hold = self._held(state, reservation_id)
        if hold is None:
            raise InvalidInput(
                "reservation_id",
                f"{reservation_id!r} is not known",
                "use the one of a pick",
            )
        return hold

    def _overrun(self, writing: WriteTransaction, hold: Hold) -> tuple[str, ...]:
        judge = RuleEvaluator(
            writing.state, self._here(writing.state, writing.now, hold.surface)
        )
        rooms = judge.rooms(hold.thing)
        return tuple(
            room.rule_id for room in rooms if room.left is not None and room.left < 0
        )


def _in_memory() -> Vault:
    return Vault.open(None, HostKey(secrets.token_bytes(KEY_BYTES)))


def _civil(now: Instant, wall_ms: int, ahead_ms: int) -> tuple[int, ...]:
    """What the clocks show, and the verified time too once a stamp came in this boot."""
    segment = now.timeline.segments[now.stamp.segment]
    return (wall_ms, now.ms(VERIFIED) + ahead_ms) if segment.verified else (wall_ms,)


def _require_scope(scope: str) -> None:
    if scope not in SCOPES:
        raise InvalidInput(
            "scope", f"{scope!r} is not known", f"use one of {', '.join(SCOPES)}"
        )
