"""The profile: what the device believes the person likes, with the evidence for it."""

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
    """Effect of one event: `weight` on the item, halved every `half_life_days`."""

    weight: float
    half_life_days: float


EVENT_WEIGHTS: Mapping[str, EventWeight] = MappingProxyType(
    {
        "view": EventWeight(0.3, 14),
        "dwell": EventWeight(0.5, 14),  # per half minute, at most two
        "search": EventWeight(0.5, 14),
        "click": EventWeight(1.0, 30),
        "like": EventWeight(2.0, 180),
        "save": EventWeight(2.0, 180),
        "rating": EventWeight(1.0, 365),  # per star above or below a neutral 3
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
# Strength below which a belief is not an interest: one view alone is not enough.
LEAST_EVIDENCE = 0.5
PASSIVE_HALF_LIFE = 14  # days; the half-life of views, dwelling and searches
LEAST_DAYS = 2  # passive events must occur on this many days to show an interest
SESSION_GAP_MS = 1_800_000
PURCHASE_KINDS = frozenset({"purchase", "convert"})
EXPOSURE_KINDS = frozenset({"impression", "click"})
EXPOSURE_HALF_LIFE_DAYS = 7.0  # docs/spec/recommendation.md 4
CLICK_RELIEF = 1.0  # fatigue that a click removes
DUE_AFTER = 0.8  # share of a purchase cycle after which an item is wanted again
LEAST_GAPS = 2  # with fewer gaps between purchases, the cycle is unknown
DEFAULT_CYCLE_DAYS = 30.0  # of a replenishable item with an unknown cycle
MAX_DATES = 8  # per item; enough to explain a belief and to estimate a cycle


@dataclass(frozen=True, slots=True)
class Belief:
    """The strength of liking for one item, and the newest evidence for it.

    `strengths` maps a half-life in days to (strength, unix ms at which it was valid);
    `dates` holds the last (event kind, unix ms), `purchases` the last purchases (unix
    ms), and `events` counts all events.
    """

    strengths: Mapping[float, tuple[float, int]] = field(default_factory=dict)
    dates: tuple[tuple[str, int], ...] = ()
    events: int = 0
    purchases: tuple[int, ...] = ()

    def at(self, now_ms: int) -> float:
        """Return the strength at `now_ms`; below 0 the item is disliked."""
        # The list keeps the order of addition, so that sums are reproducible.
        faded = [
            _faded(strength, since_ms, now_ms, days)
            for days, (strength, since_ms) in self.strengths.items()
        ]
        return sum(faded)

    def after(self, event: StoredEvent) -> Belief:
        """Return the belief after `event`."""
        event_weight = EVENT_WEIGHTS[event.kind]
        days = event_weight.half_life_days
        strength, since_ms = self.strengths.get(days, (0.0, event.at_ms))
        now_ms = max(since_ms, event.at_ms)
        new_strength = _faded(strength, since_ms, now_ms, days)
        new_strength += _weight(event, event_weight)
        purchases = self.purchases
        if event.kind in PURCHASE_KINDS:
            purchases = (*purchases, event.at_ms)[-MAX_DATES:]
        return Belief(
            {**self.strengths, days: (new_strength, now_ms)},
            (*self.dates, (event.kind, event.at_ms))[-MAX_DATES:],
            self.events + 1,
            purchases,
        )

    @property
    def is_lasting(self) -> bool:
        """True if the person acted on the item, or met it on several days."""
        has_active_event = any(days > PASSIVE_HALF_LIFE for days in self.strengths)
        return has_active_event or self.days >= LEAST_DAYS

    @property
    def days(self) -> int:
        """The number of days with an event, among the stored dates."""
        return len({at_ms // DAY_MS for _, at_ms in self.dates})

    def due_ms(self, replenishable: bool) -> int | None:
        """Return when the item may be wanted again (unix ms), None for never.

        The cycle is the median gap between purchases, or a default if it is unknown.
        """
        times = sorted(self.purchases)
        gaps = [late - early for early, late in pairwise(times) if late > early]
        has_known_cycle = len(gaps) >= LEAST_GAPS
        if not times or not (replenishable or has_known_cycle):
            return None
        cycle_ms = median(gaps) if has_known_cycle else DEFAULT_CYCLE_DAYS * DAY_MS
        return times[-1] + int(DUE_AFTER * cycle_ms)


@dataclass(frozen=True, slots=True)
class ExposureFatigue:
    """Fatigue of one item: each impression adds 1, time halves it, a click lowers it.

    `reservation` is that of the last impression.
    """

    value: float = 0.0
    since_ms: int = 0
    times: int = 0
    clicks: int = 0
    reservation: str | None = None

    def at(self, now_ms: int) -> float:
        """Return the fatigue at `now_ms`; 0 if the item was not shown."""
        return _faded(self.value, self.since_ms, now_ms, EXPOSURE_HALF_LIFE_DAYS)

    def after(self, event: StoredEvent) -> ExposureFatigue:
        """Return the fatigue after `event`.

        An impression that is recorded again with better evidence counts once.
        """
        now_ms = max(self.since_ms, event.at_ms)
        if event.kind == "click":
            value = max(self.at(now_ms) - CLICK_RELIEF, 0.0)
            return replace(self, value=value, since_ms=now_ms, clicks=self.clicks + 1)
        is_reserved = event.reservation_id is not None
        if is_reserved and event.reservation_id == self.reservation:
            return self
        value = self.at(now_ms) + 1.0
        return ExposureFatigue(
            value, now_ms, self.times + 1, self.clicks, event.reservation_id
        )


@dataclass(frozen=True, slots=True)
class ActivitySession:
    """The impressions of the current session, which ends after half an hour."""

    shows: int = 0
    last_ms: int = 0

    def at(self, now_ms: int) -> int:
        """Return the impressions of the session at `now_ms`; 0 if it has ended."""
        return self.shows if now_ms - self.last_ms < SESSION_GAP_MS else 0

    def after(self, at_ms: int) -> ActivitySession:
        """Return the session after an impression at `at_ms`."""
        return ActivitySession(self.at(at_ms) + 1, max(self.last_ms, at_ms))


@dataclass(frozen=True)
class Profile:
    """Beliefs and exposures by item id.

    `opinions` are beliefs about everything that shares a scope with an item, by
    (scope, item id).
    """

    beliefs: Mapping[str, Belief] = field(default_factory=dict)
    exposures: Mapping[str, ExposureFatigue] = field(default_factory=dict)
    opinions: Mapping[Key, Belief] = field(default_factory=dict)
    session: ActivitySession = ActivitySession()

    def after(self, events: Iterable[StoredEvent]) -> Profile:
        """Return the profile after `events`; reading them in parts gives the same.

        Events that were recorded only for frequency caps are not used.
        """
        beliefs = dict(self.beliefs)
        exposures = dict(self.exposures)
        opinions = dict(self.opinions)
        session = self.session
        for event in events:
            item_id = event.item_id
            if item_id is None or event.purpose == "essential":
                continue
            if event.kind in EVENT_WEIGHTS and event.scope in (None, "item"):
                beliefs[item_id] = beliefs.get(item_id, Belief()).after(event)
            elif event.kind in EVENT_WEIGHTS and event.kind != "hide":
                # Frequency caps already exclude everything that a hide covers.
                key = str(event.scope), item_id
                opinions[key] = opinions.get(key, Belief()).after(event)
            if event.kind in EXPOSURE_KINDS:
                before = exposures.get(item_id, ExposureFatigue())
                exposures[item_id] = before.after(event)
                if exposures[item_id].times > before.times:
                    session = session.after(event.at_ms)
        return Profile(beliefs, exposures, opinions, session)

    def packed(self) -> bytes:
        """Return the profile as JSON, which `unpacked` reads."""
        beliefs = [
            [item_id, *_belief_row(belief)] for item_id, belief in self.beliefs.items()
        ]
        exposures = [
            [item_id, *astuple(fatigue)] for item_id, fatigue in self.exposures.items()
        ]
        opinions = [
            [*key, *_belief_row(belief)] for key, belief in self.opinions.items()
        ]
        rows = [beliefs, exposures, opinions, astuple(self.session)]
        return json.dumps(rows, separators=(",", ":")).encode()

    @classmethod
    def unpacked(cls, content: bytes) -> Profile:
        """Return the profile that `packed` wrote."""
        beliefs, exposures, opinions, *sessions = json.loads(content)
        return cls(
            {item_id: _belief(*row) for item_id, *row in beliefs},
            {item_id: ExposureFatigue(*row) for item_id, *row in exposures},
            {(scope, item_id): _belief(*row) for scope, item_id, *row in opinions},
            *(ActivitySession(*row) for row in sessions),
        )

    def item_ids(self) -> list[str]:
        """Return every item with a belief or an exposure."""
        return list(dict.fromkeys([*self.beliefs, *self.exposures]))

    def likes(self, now_ms: int) -> dict[str, float]:
        """Return the strength above 0 of each liked item at `now_ms`, strongest first."""
        strengths = {
            item_id: belief.at(now_ms) for item_id, belief in self.beliefs.items()
        }
        liked = [pair for pair in strengths.items() if pair[1] > 0]
        return dict(sorted(liked, key=lambda pair: (-pair[1], pair[0])))


def _belief_row(belief: Belief) -> list[object]:
    strengths = [
        [days, strength, since_ms]
        for days, (strength, since_ms) in belief.strengths.items()
    ]
    return [strengths, belief.dates, belief.events, belief.purchases]


def _belief(
    strength_rows: list[tuple[float, float, int]],
    date_rows: list[tuple[str, int]],
    events: int,
    purchases: list[int],
) -> Belief:
    strengths = {
        days: (strength, since_ms) for days, strength, since_ms in strength_rows
    }
    dates = tuple((kind, at_ms) for kind, at_ms in date_rows)
    return Belief(strengths, dates, events, tuple(purchases))


def _weight(event: StoredEvent, event_weight: EventWeight) -> float:
    if event.value is None or event.kind not in ("rating", "dwell"):
        return event_weight.weight
    if event.kind == "dwell":
        units = min(max(event.value, 0.0) / DWELL_SECONDS, MOST_DWELL)
        return event_weight.weight * units
    return event_weight.weight * (event.value - NEUTRAL_RATING)


def _faded(strength: float, since_ms: int, now_ms: int, half_life_days: float) -> float:
    elapsed_days = max(now_ms - since_ms, 0) / DAY_MS
    return strength * float(2.0 ** (-elapsed_days / half_life_days))
