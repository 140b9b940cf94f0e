"""Simulation of rules on a log of events: which offers they would have denied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from tactful.caps_tools.event_log import REACTIONS, LoggedEvent
from tactful.device.caps.engine import CapEngine
from tactful.device.caps.rules.model import Rules
from tactful.device.clock import ManualClock, zone_named
from tactful.device.device_key import KEY_BYTES, HostKey
from tactful.device.events import Event
from tactful.device.vault import Vault


@dataclass(frozen=True, slots=True)
class SimulatedOutcome:
    """Result of one offer, and if the person clicked the item in the log."""

    offer: LoggedEvent
    reason_code: str | None  # None: shown
    clicked: bool = False


@dataclass(frozen=True, slots=True)
class Day:
    """Totals of one local day: offers that were shown, and refused by reason."""

    date: date
    shown: int
    refused: Mapping[str, int]
    clicks: int = 0
    clicks_lost: int = 0


def play(rules: Rules, events: Iterable[LoggedEvent]) -> list[SimulatedOutcome]:
    """Return the outcome of each offer in `events` on a device with `rules`.

    Granted offers count as viewable impressions. A click on an item that was denied
    cannot happen, so it is counted as lost.
    """
    device: _Device | None = None
    for event in events:
        device = device or _Device(rules, event.at)
        device.apply(event)
    return [] if device is None else device.outcomes()


def by_day(outcomes: Sequence[SimulatedOutcome]) -> list[Day]:
    """Return the totals of each local day, oldest first."""
    outcomes_by_date: dict[date, list[SimulatedOutcome]] = {}
    for outcome in outcomes:
        zone = zone_named(outcome.offer.zone) or UTC
        local_date = outcome.offer.at.astimezone(zone).date()
        outcomes_by_date.setdefault(local_date, []).append(outcome)
    dates = sorted(outcomes_by_date)
    return [_day(local_date, outcomes_by_date[local_date]) for local_date in dates]


def _day(local_date: date, outcomes: Sequence[SimulatedOutcome]) -> Day:
    refused = Counter(
        outcome.reason_code for outcome in outcomes if outcome.reason_code is not None
    )
    # By True for clicks on items that were shown, False for lost ones.
    clicks = Counter(
        outcome.reason_code is None for outcome in outcomes if outcome.clicked
    )
    return Day(
        local_date,
        shown=len(outcomes) - refused.total(),
        refused=dict(refused),
        clicks=clicks[True],
        clicks_lost=clicks[False],
    )


@dataclass
class _Offer:
    """One offer during the simulation, with its reservation if it was granted."""

    event: LoggedEvent
    reason_code: str | None
    reservation_id: str | None
    clicked: bool = False


@dataclass
class _Device:
    """A device in memory to which the events of a log are applied."""

    rules: Rules
    start: datetime
    last_offers: dict[str, _Offer] = field(default_factory=dict)  # by item
    offers: list[_Offer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = ManualClock(self.start)
        vault = Vault.open(None, HostKey(bytes(KEY_BYTES)))
        self.engine = CapEngine(vault, self.clock, self.rules, durable=False)

    def apply(self, event: LoggedEvent) -> None:
        """Advance the clock to `event`, then offer its item or record the reaction."""
        wall_ms = round(event.at.timestamp() * 1000)
        self.clock.advance(wall_ms - self.clock.wall_ms)
        self.clock.zone = event.zone
        if event.kind == "offer":
            self._offer(event)
        else:
            self._react(event)

    def _offer(self, event: LoggedEvent) -> None:
        decision = self.engine.decide([event.item], 1, event.surface)
        if decision.picks:
            reservation_id = decision.picks[0].reservation_id
            self.engine.confirm(reservation_id)
            offer = _Offer(event, None, reservation_id)
        else:
            offer = _Offer(event, decision.denials[0].reason_code, None)
        self.offers.append(offer)
        self.last_offers[event.item.id] = offer

    def _react(self, event: LoggedEvent) -> None:
        """Record a reaction, unless the last offer of its item was denied."""
        offer = self.last_offers.get(event.item.id)
        reservation_id = None
        if offer is not None:
            offer.clicked = offer.clicked or event.kind == "click"
            reservation_id = offer.reservation_id
            if reservation_id is None:
                return
        reaction = Event(
            kind=REACTIONS[event.kind],
            item_id=event.item.id,
            reservation_id=reservation_id,
            surface=event.surface,
        )
        self.engine.interact(reaction, event.item)

    def outcomes(self) -> list[SimulatedOutcome]:
        """Return the outcomes of all offers so far, in their order."""
        return [
            SimulatedOutcome(offer.event, offer.reason_code, offer.clicked)
            for offer in self.offers
        ]
