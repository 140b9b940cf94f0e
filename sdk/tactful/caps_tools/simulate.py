"""What rules would have done to a list of events: which shows they would have refused, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from tactful.caps_tools.event_log import LoggedEvent
from tactful.device.caps.engine import CapEngine
from tactful.device.caps.rules.model import Rules
from tactful.device.clock import ManualClock, zone_named
from tactful.device.device_key import KEY_BYTES, HostKey
from tactful.device.events import Event
from tactful.device.vault import Vault


@dataclass(frozen=True, slots=True)
class SimulatedOutcome:
    """What the rules made of one offer, and whether the person clicked it in the log."""

    offer: LoggedEvent
    reason_code: str | None  # None: shown
    clicked: bool = False


@dataclass(frozen=True, slots=True)
class Day:
    """One local day: what was shown, and what was refused by reason."""

    date: date
    shown: int
    refused: Mapping[str, int]
    clicks: int = 0
    clicks_lost: int = 0


def play(rules: Rules, happenings: Iterable[LoggedEvent]) -> list[SimulatedOutcome]:
    """Live through `happenings` on a device with `rules`; what is granted counts as viewable.

    A click on something that was refused never happens, so it is counted as lost.
    """
    device: _Device | None = None
    for happening in happenings:
        device = device or _Device(rules, happening.at)
        device.live(happening)
    return [] if device is None else device.outcomes()


def by_day(outcomes: Sequence[SimulatedOutcome]) -> list[Day]:
    """The outcomes of each local day, oldest first."""
    days: dict[date, list[SimulatedOutcome]] = {}
    for outcome in outcomes:
        zone = zone_named(outcome.offer.zone) or UTC
        days.setdefault(outcome.offer.at.astimezone(zone).date(), []).append(outcome)
    return [_day(when, days[when]) for when in sorted(days)]


def _day(when: date, outcomes: Sequence[SimulatedOutcome]) -> Day:
    refused = Counter(o.reason_code for o in outcomes if o.reason_code is not None)
    clicks = Counter(o.reason_code is None for o in outcomes if o.clicked)
    return Day(
        when,
        len(outcomes) - refused.total(),
        dict(refused),
        clicks[True],
        clicks[False],
    )


@dataclass
class _Offer:
    """One offer as it goes: the reservation if it was granted."""

    happening: LoggedEvent
    reason_code: str | None
    reservation_id: str | None
    clicked: bool = False


@dataclass
class _Device:
    """A device in memory that lives through a log."""

    rules: Rules
    began: datetime
    last: dict[str, _Offer] = field(default_factory=dict)  # by item
    offers: list[_Offer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = ManualClock(self.began)
        vault = Vault.open(None, HostKey(bytes(KEY_BYTES)))
        self.engine = CapEngine(vault, self.clock, self.rules, durable=False)

    def live(self, happening: LoggedEvent) -> None:
        wall_ms = round(happening.at.timestamp() * 1000)
        self.clock.advance(wall_ms - self.clock.wall_ms)
        self.clock.zone = happening.zone
        if happening.kind == "offer":
            self._offer(happening)
        else:
            self._react(happening)

    def _offer(self, happening: LoggedEvent) -> None:
        decision = self.engine.decide([happening.item], 1, happening.surface)
        reservation = decision.picks[0].reservation_id if decision.picks else None
        if reservation is not None:
            self.engine.confirm(reservation)
        code = None if decision.picks else decision.denials[0].reason_code
        made = _Offer(happening, code, reservation)
        self.offers.append(made)
        self.last[happening.item.id] = made

    def _react(self, happening: LoggedEvent) -> None:
        """A reaction to what the rules held back cannot happen."""
        offer = self.last.get(happening.item.id)
        if offer is not None:
            offer.clicked = offer.clicked or happening.kind == "click"
        if offer is None or offer.reservation_id is not None:
            reservation = None if offer is None else offer.reservation_id
            self.engine.interact(
                Event(
                    kind=happening.kind,
                    item_id=happening.item.id,
                    reservation_id=reservation,
                    surface=happening.surface,
                ),
                happening.item,
            )

    def outcomes(self) -> list[SimulatedOutcome]:
        return [
            SimulatedOutcome(o.happening, o.reason_code, o.clicked) for o in self.offers
        ]
