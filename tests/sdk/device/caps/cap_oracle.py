"""What the caps should answer, found the slow way: keep every event, filter by predicate.

Written from the specification alone. It shares the parsed rules with the engine (plain values) and
nothing else: own time, own dates, own counting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import product
from zoneinfo import ZoneInfo

from tactful.device.caps.rules.model import (
    Calendar,
    Cooldown,
    Decay,
    EveryNth,
    Lifetime,
    Rule,
    Rules,
    Session,
    Sliding,
)

DAY = 86_400_000
RANKS = {"promo": 0, "normal": 1, "high": 2, "critical": 3}


@lru_cache(maxsize=200_000)
def shown_date(ms: int, zone: str) -> int:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return at.astimezone(ZoneInfo(zone)).toordinal()


def day_of(ms: int, zone: str) -> int:
    """The latest date that clocks have shown by then."""
    return max(shown_date(ms - back * 900_000, zone) for back in range(5))


def in_unit(day: int, today: int, window: Calendar) -> bool:
    """Whether two dates lie in the same n units that end with the one of `today`."""
    if window.unit == "day":
        return today - window.n < day <= today
    if window.unit == "week":
        start = ("MO", "TU", "WE", "TH", "FR", "SA", "SU").index(window.week_start)
        weeks = (today - 1 - start) // 7 - (day - 1 - start) // 7
        return 0 <= weeks < window.n
    then, now = datetime.fromordinal(day), datetime.fromordinal(today)
    months = (now.year - then.year) * 12 + now.month - then.month
    return 0 <= months < window.n


@dataclass
class Mark:
    """A moment as it was recorded: on both timelines, with the dates and zone of then."""

    at: tuple[int, int]
    days: tuple[int, int]
    zone: str | None
    turn: int = 0  # the order in which things were told
    told: int = (
        0  # when, on the verified timeline; later than `at` if it came with a handle
    )


@dataclass
class Show:
    thing: object
    surface: str
    subject: str
    owner: object
    reserved: Mark
    ttl: int
    confirms: list[tuple[int, Mark]] = field(default_factory=list)
    actions: list[Mark] = field(default_factory=list)
    presumed: Mark | None = None
    ended: bool = False
    released: bool = False

    def expiry(self, timeline: int) -> int:
        return self.reserved.at[timeline] + self.ttl

    def level(self) -> int:
        return (
            4
            if self.presumed
            else max((level for level, _ in self.confirms), default=0)
        )

    def counted_at(self, least: int) -> Mark | None:
        """When the show first had the evidence asked for, in the order it was told."""
        for level, mark in self.confirms:
            if level == 4 or level >= least:
                return mark
        return None


class Oracle:
    """A whole device in one list of events."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.shows: list[Show] = []
        self.reactions: list[tuple[str, object, str, str, Mark, Show | None]] = []
        self.activity: list[tuple[str, Mark]] = []
        self.chances: dict[tuple[str, tuple[str, ...]], int] = {}
        self.mutes: list[tuple[str, str, str, Mark | None, float]] = []
        self.seen: tuple[int, int, str] | None = None
        self.now = (0, 0)
        self.wall = 0
        self.zone: str | None = "UTC"
        self.turn = 0

    # time ------------------------------------------------------------------------------------

    def look(self, mono: int, wall: int, boot: str, zone: str | None) -> None:
        if self.seen is None:
            self.now = (wall, wall)
        elif self.seen[2] == boot:
            passed = mono - self.seen[0]
            self.now = (self.now[0] + passed, self.now[1] + passed)
        else:
            self.now = (
                self.now[0] + min(max(wall - self.seen[1], 0), 90 * DAY),
                self.now[1],
            )
        self.seen, self.zone, self.wall = (mono, wall, boot), zone, wall

    def mark(self) -> Mark:
        return self.mark_at(self.now)

    def mark_at(self, at: tuple[int, int]) -> Mark:
        zone = self.zone or "UTC"
        self.turn += 1
        days = (day_of(at[0], zone), day_of(at[1], zone))
        return Mark(at, days, self.zone, self.turn, self.now[1])

    # what happens ----------------------------------------------------------------------------

    def sweep(self, alive: object) -> None:
        for show in self.shows:
            if not show.ended and self.now[1] >= show.expiry(1):
                show.ended = True
                if show.level() < 3 and show.owner != alive:
                    zone = show.reserved.zone or "UTC"
                    at = (show.expiry(0), show.expiry(1))
                    days = (day_of(at[0], zone), day_of(at[1], zone))
                    show.presumed = Mark(at, days, show.reserved.zone)
                    show.confirms.append((4, show.presumed))

    def confirm(self, show: Show, level: int, at: tuple[int, int] | None) -> bool:
        told = [known for known, _ in show.confirms if known < 4]
        if told and max(told) >= level:
            return False
        mark = self.mark_at(self.clamped(show, at))
        show.confirms.append((level, mark))
        self.activity.append(("event", mark))
        return True

    def clamped(self, show: Show | None, at: tuple[int, int] | None) -> tuple[int, int]:
        """A handle from earlier: not before the reservation, not after now."""
        at = min(at or self.now, self.now)
        return at if show is None else max(at, show.reserved.at)

    def release(self, show: Show) -> bool:
        if show.ended or any(level < 4 for level, _ in show.confirms):
            return False
        show.ended = show.released = True
        return True

    def react(
        self, kind: str, thing: object, surface: str, subject: str, show: Show | None,
        at: tuple[int, int] | None = None,
    ):  # fmt: skip
        mark = self.mark_at(self.clamped(show, at))
        self.reactions.append((kind, thing, surface, subject, mark, show))
        if kind == "hide":
            self.mutes.append((subject, "brand", thing.brand, mark, 90 * DAY))
        self.activity.append(("event", mark))
        if show is not None:
            show.actions.append(mark)

    # predicates ------------------------------------------------------------------------------

    def keys(
        self, rule: Rule, thing, surface: str, subject: str
    ) -> set[tuple[str, ...]]:
        values = {
            "item": [thing.item], "family": [thing.family or thing.item],
            "creative": [thing.creative],
            "campaign": [thing.campaign], "category": list(thing.categories),
            "brand": [thing.brand], "surface": [surface], "channel": [thing.channel],
            "app": ["app"], "tag": list(thing.tags), "class": [thing.item_class],
        }  # fmt: skip
        for attribute, wanted in rule.match.items():
            if not any(value in wanted for value in values[attribute]):
                return set()
        for name in rule.key:
            if name.startswith("tag:"):
                values[name] = [name[4:]] if name[4:] in thing.tags else []
        parts = [[v for v in values[a] if v] or ["none"] for a in rule.key]
        who = () if rule.partition == "device" else (subject,)
        return {(*who, *key) for key in product(*parts)}

    def timeline(self, rule: Rule) -> int:
        names = rule.match.get("surface") or self.rules.surfaces
        return int(any(self.rules.surfaces[name].interruptive for name in names))

    def events(self, rule: Rule, key: tuple[str, ...]) -> list[tuple[Mark, int, int]]:
        """Everything that weighs under `rule` and `key`: when, how much, which class."""
        found = []
        for show in self.shows:
            mark = show.counted_at(rule.min_level)
            if mark and key in self.keys(rule, show.thing, show.surface, show.subject):
                rank = RANKS[show.thing.item_class]
                found.append((mark, rule.weights.impression, rank))
        for kind, thing, surface, subject, mark, _ in self.reactions:
            weight = rule.weights.reactions.get(kind, 0)
            if weight and key in self.keys(rule, thing, surface, subject):
                found.append((mark, weight, RANKS[thing.item_class]))
        return found

    def session_start(self, gap: int, p: int) -> int:
        start = last = None
        for kind, mark in self.activity:
            at = mark.at[p]
            if start is None or kind == "start" or at - last >= gap:
                start = at
            last = at if last is None or kind == "start" else max(last, at)
        return self.now[p] if last is None or self.now[p] - last >= gap else start

    def in_window(self, rule: Rule, mark: Mark) -> bool:
        p, window = self.timeline(rule), rule.window
        now, at = self.now[p], mark.at[p]
        if isinstance(window, Sliding | Cooldown):
            return at > now - window.ms
        if isinstance(window, Session):
            return at >= self.session_start(window.gap_ms, p)
        if isinstance(window, Lifetime):
            return True
        if window.zone:
            return in_unit(day_of(at, window.zone), day_of(now, window.zone), window)
        here, then = self.zone or "UTC", mark.zone or "UTC"
        today = day_of(now, here)
        return (
            in_unit(day_of(at, here), today, window)
            or in_unit(mark.days[p], today, window)
            or in_unit(mark.days[p], day_of(now, then), window)
        )

    def held(self, rule: Rule, key: tuple[str, ...]) -> list[Show]:
        return [
            show
            for show in self.shows
            if not show.ended
            and self.now[1] < show.expiry(1)
            and show.level() < (1 if isinstance(rule.window, Decay) else rule.min_level)
            and key in self.keys(rule, show.thing, show.surface, show.subject)
        ]

    def fatigue(self, rule: Rule, key: tuple[str, ...]) -> float:
        p, half, wear = self.timeline(rule), rule.window.half_life_ms, []
        for show in self.shows:
            if key not in self.keys(rule, show.thing, show.surface, show.subject):
                continue
            if show.confirms:
                level, mark = show.confirms[0]
                wear.append((mark.at[p], 1.5 if level == 4 else 1.0))
            wear += self.ignored(show, p)
        for kind, thing, surface, subject, mark, _ in self.reactions:
            if kind in ("dismiss", "click") and key in self.keys(
                rule, thing, surface, subject
            ):
                wear.append((mark.at[p], 3.0 if kind == "dismiss" else -1.0))
        total, last = 0.0, None
        for at, weight in sorted(wear):
            total = max(
                0.0, total * (0.5 ** ((at - last) / half) if total else 0.0) + weight
            )
            last = at
        return total * 0.5 ** ((self.now[p] - last) / half) if total else 0.0

    def ignored(self, show: Show, p: int) -> list[tuple[int, float]]:
        """Half a point more once a viewable show has ended and nobody had acted on it."""
        seen = [mark for level, mark in show.confirms if level in (2, 3)]
        if not seen or (self.now[1] < show.expiry(1) and not show.released):
            return []
        first = next(i for i, (level, _) in enumerate(show.confirms) if level in (2, 3))
        if any(level == 4 for level, _ in show.confirms[:first]):
            return []
        if show.released or seen[0].told >= show.expiry(1):
            acted = any(mark.turn < seen[0].turn for mark in show.actions)
            return [] if acted else [(seen[0].at[p], 0.5)]
        acted = any(mark.told < show.expiry(1) for mark in show.actions)
        return [] if acted else [(show.expiry(p), 0.5)]

    # decisions -------------------------------------------------------------------------------

    def refusal(self, thing, surface: str, subject: str):
        if not thing.item:
            return ("INVALID_ITEM", None, None)
        rank = RANKS[thing.item_class]
        if rank < 3 and (code := self.blocked(thing, surface, subject)):
            return (code, None, None)
        for rule in self.rules.rules:
            if isinstance(rule.window, EveryNth):
                continue
            for key in sorted(self.keys(rule, thing, surface, subject)):
                found = self.over(rule, key, rank, surface)
                if found:
                    return found
        return None

    def over(self, rule: Rule, key: tuple[str, ...], rank: int, surface: str):
        p, window = self.timeline(rule), rule.window
        exempted = self.exempted(rule, key, rank)
        if isinstance(window, Calendar) and window.zone is None and self.zone is None:
            loud = self.rules.surfaces[surface].interruptive
            wish = rule.on_missing_time or ("deny" if loud else "allow")
            if wish == "deny":
                return None if exempted else ("ZONE_UNKNOWN", None, None)
        held = len(self.held(rule, key))
        if isinstance(window, Decay):
            used, limit, asked = (
                self.fatigue(rule, key) + 1.5 * held,
                window.budget,
                1.5,
            )
        else:
            limit = rule.limit
            if isinstance(window, Cooldown):
                limit = max(1, rule.weights.impression)
            elif limit is None:
                return None
            asked = rule.weights.impression or 1
            used = sum(
                w for mark, w, _ in self.events(rule, key) if self.in_window(rule, mark)
            )
            weight = rule.weights.reservation
            used += held * (max(1, weight) if isinstance(window, Cooldown) else weight)
        kept = 0
        for room in rule.headroom:
            minute = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
                milliseconds=self.now[p]
            )
            zone = getattr(window, "zone", None) or self.zone or "UTC"
            local = minute.astimezone(ZoneInfo(zone))
            over = (
                room.until is not None and local.hour * 60 + local.minute >= room.until
            )
            if rank < RANKS[room.for_class] and not over:
                kept = max(kept, room.slots)
        if limit and used + asked <= limit - kept:
            return None
        return None if exempted else (rule.reason_code, used, limit)

    def exempted(self, rule: Rule, key: tuple[str, ...], rank: int) -> bool:
        if rule.exempt is None or rank < RANKS[rule.exempt.item_class]:
            return False
        p, least = self.timeline(rule), RANKS[rule.exempt.item_class]
        since = self.now[p] - rule.exempt.window_ms
        used = sum(
            w for m, w, r in self.events(rule, key) if r >= least and m.at[p] > since
        )
        held = [s for s in self.held(rule, key) if RANKS[s.thing.item_class] >= least]
        asked = rule.weights.impression or 1
        return used + len(held) * rule.weights.reservation + asked <= rule.exempt.limit

    def blocked(self, thing, surface: str, subject: str) -> str | None:
        p = int(self.rules.surfaces[surface].interruptive)
        mine = [r for r in self.reactions if r[3] == subject]
        own = [r for r in mine if r[1].item == thing.item]
        final = None
        for kind, what, *_ in own:
            if kind == "report":
                final = "REPORTED"
            if kind == "convert" and not what.replenishable:
                final = final or "CONVERTED"
        if final:
            return final
        times, last = 0, None
        for kind, _, _, _, mark, _ in own:
            if kind == "dismiss":
                times, last = times + 1, (mark, min(2 * DAY * 2**times, 90 * DAY))
            if kind == "click":
                times = 0
        if last and self.now[p] - last[0].at[p] < last[1]:
            return "DISMISSED"
        return "NOT_INTERESTED" if self.muted(thing, subject, p) else None

    def muted(self, thing, subject: str, p: int) -> bool:
        """Whether the last word about the brand or the item was no, and still counts."""
        last: dict[tuple[str, str], tuple[Mark, int] | None] = {}
        for who, scope, value, mark, length in self.mutes:
            if who == subject:
                last[scope, value] = None if mark is None else (mark, length)
        words = [last.get(("brand", thing.brand)), last.get(("item", thing.item))]
        return any(word and self.now[p] - word[0].at[p] < word[1] for word in words)

    def decide(self, things, k: int, surface: str, subject: str, owner: object):
        """The picks by index, and the refusals: (index, reason code, used, limit)."""
        picks, refusals, offered, taken = [], [], set(), set()
        mark = self.mark()
        for index, thing in enumerate(things):
            if len(picks) == k:
                break
            refusal = self.refusal(thing, surface, subject)
            if refusal is None:
                refusal = self.pace(thing, surface, subject, offered, taken)
            if refusal is not None:
                refusals.append((index, *refusal))
                continue
            ttl = self.rules.surfaces[surface].reservation_ttl_ms
            show = Show(thing, surface, subject, owner, mark, ttl)
            self.shows.append(show)
            picks.append((index, show))
        if picks:
            self.activity.append(("event", mark))
        return picks, refusals

    def pace(self, thing, surface: str, subject: str, offered: set, taken: set):
        rank = RANKS[thing.item_class]
        paced = [
            (rule, key)
            for rule in self.rules.rules
            if isinstance(rule.window, EveryNth)
            for key in sorted(self.keys(rule, thing, surface, subject))
        ]
        for rule, key in paced:
            if (rule.id, key) not in offered:
                offered.add((rule.id, key))
                self.chances[rule.id, key] = self.chances.get((rule.id, key), 0) + 1
        for rule, key in paced:
            n, j = rule.window.n, self.chances[rule.id, key]
            turn = j % n == 0 or self.exempted(rule, key, rank)
            if (rule.id, key) in taken or not turn:
                return (rule.reason_code, j % n, n)
        taken |= {(rule.id, key) for rule, key in paced}
        return None


def same(engine: float | None, oracle: float | None) -> bool:
    """Whether two counts agree; fatigue is a float."""
    if engine is None or oracle is None:
        return engine is oracle
    return math.isclose(engine, oracle, rel_tol=1e-9, abs_tol=1e-9)
