"""What the device believes the person likes: a fold over events, with the dates that led there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from itertools import pairwise
from statistics import median
from types import MappingProxyType

from tactful.device.events import StoredEvent

DAY_MS = 86_400_000
Key = tuple[str, str]  # a scope (item, brand, category, ...) and a value in it


@dataclass(frozen=True)
class EventWeight:
    """What one event of a kind says: `weight` towards the item, halved every `half_life_days`."""

    weight: float
    half_life_days: float


SIGNALS: Mapping[str, EventWeight] = MappingProxyType(
    {
        "view": EventWeight(0.3, 14),
        "dwell": EventWeight(
            0.5, 14
        ),  # times how long, in units of half a minute, at most 2
        "search": EventWeight(0.5, 14),
        "click": EventWeight(1.0, 30),
        "like": EventWeight(2.0, 180),
        "save": EventWeight(2.0, 180),
        "rating": EventWeight(1.0, 365),  # times its distance from a neutral 3
        "purchase": EventWeight(3.0, 365),
        "convert": EventWeight(3.0, 365),
        "interest": EventWeight(2.0, 365),
        "dismiss": EventWeight(-1.0, 30),
        "dislike": EventWeight(-4.0, 180),
        "hide": EventWeight(-4.0, 180),
        "report": EventWeight(-4.0, 365),
    }
)
NEUTRAL_RATING = 3.0
DWELL_SECONDS, MOST_DWELL = 30.0, 2.0
LEAST_EVIDENCE = (
    0.5  # strength below which a belief is no interest: one view alone says nothing
)
PASSIVE_HALF_LIFE = 14  # days, of what one does in passing: views, dwelling, searches
LEAST_DAYS = (
    2  # on so many days things done in passing must have been done to be an interest
)
SITTING_GAP_MS = 1_800_000
BOUGHT = frozenset({"purchase", "convert"})
WEARING = frozenset({"impression", "click"})
SHOW_HALF_LIFE_DAYS = 7.0  # as in design/repetition-caps.md
CLICK_RELIEF = 1.0  # what a click takes from the wear of the shows before it
DUE_AFTER = 0.8  # of a cycle: a little before the thing is used up
LEAST_GAPS = 2  # between three purchases: fewer say nothing about a cycle
DEFAULT_CYCLE_DAYS = 30.0  # of a replenishable thing before its own cycle is known
DATES_KEPT = (
    8  # per item: enough to show where a belief comes from and to estimate a cycle
)


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of one item: a strength per half-life, and the newest dates behind it.

    `strengths` maps a half-life in days to (strength, unix ms it was valid at); `dates` holds the
    last (kind, unix ms), `bought` when it was bought last, unix ms; `events` counts all.
    """

    strengths: Mapping[float, tuple[float, int]] = field(default_factory=dict)
    dates: tuple[tuple[str, int], ...] = ()
    events: int = 0
    bought: tuple[int, ...] = ()

    def at(self, now_ms: int) -> float:
        """The strength left at `now_ms`; below 0 the item is disliked."""
        return sum([_faded(*one, now_ms, days) for days, one in self.strengths.items()])

    def after(self, event: StoredEvent) -> Belief:
        """The belief once `event` has happened."""
        signal = SIGNALS[event.kind]
        days = signal.half_life_days
        strength, since = self.strengths.get(days, (0.0, event.at_ms))
        now_ms = max(since, event.at_ms)
        stronger = _faded(strength, since, now_ms, days) + _weight(event, signal)
        return Belief(
            {**self.strengths, days: (stronger, now_ms)},
            (*self.dates, (event.kind, event.at_ms))[-DATES_KEPT:],
            self.events + 1,
            (*self.bought, event.at_ms)[-DATES_KEPT:]
            if event.kind in BOUGHT
            else self.bought,
        )

    def usable(self, now_ms: int) -> bool:
        """Whether enough is left at `now_ms` to call it an interest, and it is no passing mood."""
        return self.at(now_ms) >= LEAST_EVIDENCE and self.lasting

    @property
    def lasting(self) -> bool:
        """Whether it was acted upon, or met on several days."""
        acted = any(days > PASSIVE_HALF_LIFE for days in self.strengths)
        return acted or self.days >= LEAST_DAYS

    @property
    def days(self) -> int:
        """On how many days there was something of it, as far as dates are kept."""
        return len({at // DAY_MS for _, at in self.dates})

    def due_ms(self, replenishable: bool) -> int | None:
        """When it may be wanted again, unix ms: its own cycle, else the default one; None never."""
        gaps = [
            late - early
            for early, late in pairwise(sorted(self.bought))
            if late > early
        ]
        if not self.bought or not (replenishable or len(gaps) >= LEAST_GAPS):
            return None
        cycle = median(gaps) if len(gaps) >= LEAST_GAPS else DEFAULT_CYCLE_DAYS * DAY_MS
        return max(self.bought) + int(DUE_AFTER * cycle)


@dataclass(frozen=True, slots=True)
class ExposureFatigue:
    """How worn an item is by being shown: each show adds 1, time heals, a click relieves."""

    wear: float = 0.0
    since_ms: int = 0
    times: int = 0
    clicks: int = 0
    reservation: str | None = None

    def at(self, now_ms: int) -> float:
        """The wear left at `now_ms`; 0 is fresh."""
        return _faded(self.wear, self.since_ms, now_ms, SHOW_HALF_LIFE_DAYS)

    def after(self, event: StoredEvent) -> ExposureFatigue:
        """The wear once `event` has happened; one show told with surer evidence counts once."""
        now_ms = max(self.since_ms, event.at_ms)
        if event.kind == "click":
            relieved = max(self.at(now_ms) - CLICK_RELIEF, 0.0)
            return replace(self, wear=relieved, since_ms=now_ms, clicks=self.clicks + 1)
        if (
            event.reservation_id is not None
            and event.reservation_id == self.reservation
        ):
            return self
        worn = self.at(now_ms) + 1.0
        return ExposureFatigue(
            worn, now_ms, self.times + 1, self.clicks, event.reservation_id
        )


@dataclass(frozen=True, slots=True)
class ActivitySession:
    """How many shows there were since the person came; after half an hour without one, none."""

    shows: int = 0
    last_ms: int = 0

    def at(self, now_ms: int) -> int:
        """The shows so far of what goes on at `now_ms`."""
        return self.shows if now_ms - self.last_ms < SITTING_GAP_MS else 0

    def after(self, at_ms: int) -> ActivitySession:
        """Once something was shown at `at_ms`."""
        return ActivitySession(self.at(at_ms) + 1, max(self.last_ms, at_ms))


@dataclass(frozen=True)
class Profile:
    """Beliefs and wear by item id; `opinions` are of all that shares a scope with an item."""

    beliefs: Mapping[str, Belief] = field(default_factory=dict)
    shown: Mapping[str, ExposureFatigue] = field(default_factory=dict)
    opinions: Mapping[Key, Belief] = field(default_factory=dict)  # by (scope, item id)
    sitting: ActivitySession = ActivitySession()

    def after(self, events: Iterable[StoredEvent]) -> Profile:
        """The profile once `events` have happened; folding in pieces gives the same.

        What was recorded for repetition limits alone never becomes part of it.
        """
        beliefs, shown, opinions = (
            dict(self.beliefs),
            dict(self.shown),
            dict(self.opinions),
        )
        sitting = self.sitting
        for event in events:
            if event.item_id is None or event.purpose == "essential":
                continue
            if event.kind in SIGNALS and event.scope in (None, "item"):
                beliefs[event.item_id] = beliefs.get(event.item_id, Belief()).after(
                    event
                )
            elif (
                event.kind in SIGNALS and event.kind != "hide"
            ):  # limits hold what is hidden
                what = str(event.scope), event.item_id
                opinions[what] = opinions.get(what, Belief()).after(event)
            if event.kind in WEARING:
                before = shown.get(event.item_id, ExposureFatigue())
                shown[event.item_id] = before.after(event)
                if shown[event.item_id].times > before.times:
                    sitting = sitting.after(event.at_ms)
        return Profile(beliefs, shown, opinions, sitting)

    def packed(self) -> bytes:
        """All of it as JSON; `unpacked` reads it back."""
        return json.dumps(
            [
                [[item, *_row(belief)] for item, belief in self.beliefs.items()],
                [[item, *astuple(shown)] for item, shown in self.shown.items()],
                [[*key, *_row(belief)] for key, belief in self.opinions.items()],
                astuple(self.sitting),
            ],
            separators=(",", ":"),
        ).encode()

    @classmethod
    def unpacked(cls, content: bytes) -> Profile:
        """The profile that `packed` wrote."""
        beliefs, shown, opinions, *sitting = json.loads(content)
        return cls(
            {item: _belief(*row) for item, *row in beliefs},
            {item: ExposureFatigue(*row) for item, *row in shown},
            {(scope, item): _belief(*row) for scope, item, *row in opinions},
            *(ActivitySession(*row) for row in sitting),
        )

    def item_ids(self) -> list[str]:
        """Every item that anything is believed of, or that was shown."""
        return list(dict.fromkeys([*self.beliefs, *self.shown]))

    def likes(self, now_ms: int) -> dict[str, float]:
        """What is liked at `now_ms`: item id to strength above 0, the strongest first."""
        strengths = (
            (item_id, belief.at(now_ms)) for item_id, belief in self.beliefs.items()
        )
        liked = [(item_id, strength) for item_id, strength in strengths if strength > 0]
        return dict(sorted(liked, key=lambda pair: (-pair[1], pair[0])))


def _row(belief: Belief) -> list[object]:
    strengths = [[days, *held] for days, held in belief.strengths.items()]
    return [strengths, belief.dates, belief.events, belief.bought]


def _belief(
    strengths: list[tuple[float, float, int]],
    dates: list[tuple[str, int]],
    events: int,
    bought: list[int],
) -> Belief:
    held = {days: (strength, since) for days, strength, since in strengths}
    return Belief(held, tuple((kind, at) for kind, at in dates), events, tuple(bought))


def _weight(event: StoredEvent, signal: EventWeight) -> float:
    if event.value is None or event.kind not in ("rating", "dwell"):
        return signal.weight
    if event.kind == "dwell":
        return signal.weight * min(max(event.value, 0.0) / DWELL_SECONDS, MOST_DWELL)
    return signal.weight * (event.value - NEUTRAL_RATING)


def _faded(strength: float, since_ms: int, now_ms: int, half_life_days: float) -> float:
    elapsed_days = max(now_ms - since_ms, 0) / DAY_MS
    return strength * float(2.0 ** (-elapsed_days / half_life_days))
