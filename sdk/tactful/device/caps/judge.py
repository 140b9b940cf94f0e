"""May this be shown now? Every reason against it: identity, quiet hours, feedback, then rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tactful.device.caps.feedback import wait_ms as block_wait_ms
from tactful.device.caps.quiet_hours import quiet_wait_ms
from tactful.device.caps.rooms import CRITICAL, FREE, Here
from tactful.device.caps.rules import EveryNth, QuietHours
from tactful.device.caps.segments import FULL
from tactful.device.caps.state import Keyed, State
from tactful.device.caps.things import Key, Thing
from tactful.device.caps.waits import Refusal, Waits
from tactful.device.caps.windows import Track

NONE = 1 << 30  # in the place of a rule that refuses: none does


@dataclass(frozen=True, slots=True)
class Room:
    """How much one rule has used for an item, and leaves; `left` None is unlimited."""

    rule_id: str
    used: float
    limit: float | None
    left: float | None


class Judge(Waits):
    """Answers for one moment; remembers what it found until something is reserved."""

    def __init__(self, state: State, here: Here) -> None:
        super().__init__(state, here)
        self._strange: dict[tuple[int, int], int] = {}  # by rules and class
        self.chances: dict[tuple[str, Key], bool] = {}  # opportunities offered; True once taken

    def refusal(self, thing: Thing) -> Refusal | None:
        """The first reason against `thing`, None if there is none."""
        early = None if self.calm and thing.item else next(self.before_rules(thing), None)
        return early or self.rule_refusal(thing)

    @cached_property
    def calm(self) -> bool:
        """Whether only rules can refuse anything that has a name."""
        return not self._quiet and self._state.feedback.silent

    def before_rules(self, thing: Thing) -> Iterator[Refusal]:
        """The reasons against `thing` that no rule gives: identity, quiet hours, feedback."""
        if not thing.item:
            yield Refusal("INVALID_ITEM")
        yield from self._quiet
        if thing.rank < CRITICAL and not self._state.feedback.silent:
            yield from self._blocked(thing)

    def refusals(self, thing: Thing) -> Iterator[Refusal]:
        """Every reason against `thing`: identity, quiet hours, feedback, then rules in order."""
        yield from self.before_rules(thing)
        if thing.item:
            yield from self._rule_refusals(thing)

    def rule_refusal(self, thing: Thing, *, since: bool = False) -> Refusal | None:
        """The first rule against `thing`, those that pace apart.

        Of one that no rule was against, `since` asks those alone that were touched since then.
        """
        first, rank = NONE, thing.rank
        by: Key = ()
        asked = self._state.asked(thing, self.here.surface, self.here.subject)
        for one, keys in zip(self._state.keyed, asked, strict=True):
            for key in keys or ():
                place = NONE if since and key not in one.touched else self._against(one, key, rank)
                if place < first:
                    first, by = place, key
        return None if first == NONE else self.explain(self._state.tracks[first], by, rank)

    def _against(self, keyed: Keyed, key: Key, rank: int) -> int:
        """The place of the first of these rules without room; the same for all never shown."""
        if key in keyed.known or key in keyed.holds:
            return self._first_full(keyed, key, rank)
        place = self._strange.get((id(keyed), rank))
        if place is None:
            place = self._strange[id(keyed), rank] = self._first_full(keyed, key, rank)
        return place

    def _first_full(self, keyed: Keyed, key: Key, rank: int) -> int:
        for track, place in zip(keyed.tracks, keyed.places, strict=True):
            if not (track.paces or self._fits(track, key, rank)):
                return place
        return NONE

    def _rule_refusals(self, thing: Thing) -> Iterator[Refusal]:
        for track, keys in self._plan(thing):
            if track.paces:
                continue
            for key in keys:
                if not self._fits(track, key, thing.rank):
                    yield self.explain(track, key, thing.rank)

    def offered(self, thing: Thing) -> Refusal | None:
        """Count the opportunity that every-nth rules see here; the first of them that refuses.

        Counted once per decision and key, whether or not it is taken; taken at most once.
        """
        if not self._state.paces:
            return None
        paced = list(self._paced(thing))
        for track, key in paced:
            if (track.rule.id, key) not in self.chances:
                self.chances[track.rule.id, key] = False
                self._state.offer(track.rule.id, key)
        for track, key in paced:
            count = self._state.opportunities[track.rule.id, key]
            if self.chances[track.rule.id, key] or not self._turn_of(track, key, count, thing):
                return self._out_of_turn(track, key, count)
        for track, key in paced:
            self.chances[track.rule.id, key] = True
        return None

    def pace(self, thing: Thing) -> Iterator[Refusal]:
        """What every-nth rules would say at the next opportunity; nothing is counted."""
        for track, key in self._paced(thing):
            count = self._state.opportunities.get((track.rule.id, key), 0) + 1
            if not self._turn_of(track, key, count, thing):
                yield self._out_of_turn(track, key, count)

    def _paced(self, thing: Thing) -> Iterator[tuple[Track, Key]]:
        for track, keys in self._plan(thing):
            if track.paces:
                yield from ((track, key) for key in keys)

    def _turn_of(self, track: Track, key: Key, count: int, thing: Thing) -> bool:
        window, exempt = track.rule.window, track.rule.exempt
        if isinstance(window, EveryNth) and count % window.n == 0:
            return True
        return exempt is not None and thing.rank >= exempt.rank and self._quota_fits(track, key)

    @staticmethod
    def _out_of_turn(track: Track, key: Key, count: int) -> Refusal:
        n = track.rule.window.n if isinstance(track.rule.window, EveryNth) else 1
        return Refusal(track.rule.reason_code, track.rule, key, count % n, n, wait_ms=0)

    def rooms(self, thing: Thing) -> Iterator[Room]:
        """What each rule has used for `thing`, and leaves."""
        for track, keys in self._plan(thing):
            for key in () if track.paces else keys:
                used = self.used(track, key) + self._lost(track, thing.rank)
                limit = self.limit(track.rule)
                kept = self._headroom(track, thing.rank)
                left = None if limit == FREE else limit - kept - used
                yield Room(track.rule.id, used, None if limit == FREE else limit, left)

    @cached_property
    def _quiet(self) -> tuple[Refusal, ...]:
        """Quiet hours by the civil time shown and, once verified, by the true one."""
        return tuple(
            refusal
            for quiet in self._state.rules.quiet_hours
            if self.here.surface in quiet.surfaces and quiet.behaviour != "silent"
            for refusal in self._kept_quiet(quiet)
        )

    def _kept_quiet(self, quiet: QuietHours) -> Iterator[Refusal]:
        zone = quiet.zone or self.here.times[FULL].zone
        if zone is None:
            if self.here.interruptive:
                yield Refusal("QUIET_HOURS")
            return
        wait = max(quiet_wait_ms(quiet, at, zone) for at in self.here.civil_ms)
        if wait:
            yield Refusal("QUIET_HOURS", wait_ms=wait + self.here.jitter(quiet))

    def _blocked(self, thing: Thing) -> Iterator[Refusal]:
        now = self.here.feedback
        for block in self._state.feedback.blocks(thing, self.here.surface, self.here.subject):
            wait = block_wait_ms(block, now.ms, lambda s, o: now.segments[s].base[now.timeline] + o)
            if wait is None or wait > 0:
                yield Refusal(block.reason_code, wait_ms=wait)
