"""What the page tells, gathered from one device as plain values; nothing here is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tactful.device.catalog import Catalog, Item
from tactful.device.consent import PURPOSES
from tactful.device.personalizer import Personalizer
from tactful.device.ranking.results import PreviewedItem, WhyNot
from tactful.device.state.device_state import DeviceState, Disclosure
from tactful.device.vault import Vault

ASKED = tuple(purpose for purpose in PURPOSES if purpose != "essential")
LISTED, MOST_ANSWERS = 10, 5
MOST_ROWS = 50  # of each list; the export has all


@dataclass(frozen=True)
class ItemBelief:
    """One item the device has a belief about: how strong from -1 to 1, and where it comes from.

    With a `scope` the belief is of all that shares it, such as "less of this category".
    `used`: the person did not say that it shall not count; `hidden`: they want to see none of it.
    """

    item_id: str
    title: str
    strength: float
    events: tuple[tuple[str, str], ...]  # (kind, day)
    used: bool = True
    hidden: bool = False
    scope: str | None = None


@dataclass(frozen=True)
class ItemExposures:
    """How often an item was shown, and on which day last."""

    title: str
    times: int
    last: str


@dataclass(frozen=True)
class ConsentSwitch:
    """One purpose: whether it is allowed now, since when, and what stands against it."""

    purpose: str
    granted: bool
    allowed: bool
    since: str
    reason: str


@dataclass(frozen=True)
class SentReport:
    """One report: what it was, and epsilon in all once it was made."""

    day: str
    disclosure: Disclosure
    epsilon: float | None


@dataclass(frozen=True)
class PageContent:
    """Everything on the page."""

    interests: tuple[ItemBelief, ...]
    seen: tuple[ItemExposures, ...]
    switches: tuple[ConsentSwitch, ...]
    sent: tuple[SentReport, ...]
    budget: float
    spent: float
    model: str
    placement: str  # who adds the noise to what is sent; "" if nothing is
    balance: float
    weekly_limit: int | None
    quiet_at_night: bool
    reached: bool  # whether the app reaches the person unasked anywhere
    muted: tuple[tuple[str, str, str], ...]  # (scope, value, title)
    arms: tuple[tuple[str, str], ...]
    paused: bool
    records: int
    list_known: bool  # whether the app's items are at hand
    list_now: tuple[PreviewedItem, ...]
    asked: str  # what the person asked about, "" for nothing
    answers: tuple[WhyNot, ...]


def story(device: Personalizer, *, asked: str = "", lists: bool = True) -> PageContent:
    """What `device` knows, showed, was told and sent; why what is `asked` about is not shown.

    `lists` False: the app's items are not at hand, so that no list of it can be told.
    """
    from tactful.privacy.lifetime import spent_epsilon

    memory, catalog, pair = device.status, device.catalog, device.settings.aggregators
    kinds = Counter(str(one["kind"]) for one in _records(device))
    return PageContent(
        interests=_interests(memory, catalog, set(device.controls.muted)),
        seen=_seen(device, catalog),
        switches=tuple(_switch(memory, purpose) for purpose in ASKED),
        sent=_sent(memory, device.settings.delta),
        budget=device.settings.lifetime_epsilon,
        spent=spent_epsilon(memory.ledger.charges, device.settings.delta),
        model=_model(memory),
        placement="" if pair is None else pair.placement,
        balance=memory.balance,
        weekly_limit=_weekly(device.controls.limits),
        quiet_at_night=bool((device.controls.limits or {}).get("quiet_hours")),
        reached=bool(device.controls.interruptive_surfaces),
        muted=tuple((s, v, _title(catalog, v)) for s, v in device.controls.muted),
        arms=tuple((str(one["experiment"]), str(one["arm"])) for one in _arms(device)),
        paused=memory.paused,
        records=kinds.total(),
        list_known=lists,
        list_now=tuple(device.explain.preview(LISTED, surface=_surface(device)))
        if lists
        else (),
        asked=asked,
        answers=_answers(device, asked),
    )


def _answers(device: Personalizer, asked: str) -> tuple[WhyNot, ...]:
    """Why the items whose titles hold what was asked are not shown, the best matches first."""
    words = asked.casefold().strip()
    found = [one for one in device.catalog if words and words in one.title.casefold()]
    found.sort(key=lambda item: (len(item.title), item.title))
    surface = _surface(device)
    return tuple(
        device.explain.why_not(one.id, surface=surface) for one in found[:MOST_ANSWERS]
    )


def _surface(device: Personalizer) -> str:
    """Where the app shows lists: `home`, or the first place that its rules name."""
    named = device.controls.surfaces
    return "home" if "home" in named or not named else named[0]


def catalog_of(vault: Vault) -> Catalog:
    """The items that a vault speaks of, by their ids: for a page without the app's catalog."""
    ids = {
        str(one)
        for record in vault.read(0, ["event"])
        for one in [_event_item(record.body)]
        if one is not None
    }
    return Catalog(Item(id=one, title=one) for one in sorted(ids))


def _event_item(body: Mapping[str, object]) -> str | None:
    from tactful.device.events import StoredEvent

    return StoredEvent.from_body(body).item_id


def _records(device: Personalizer) -> list[dict[str, object]]:
    records = device.rights.export()["records"]
    return records if isinstance(records, list) else []


def _arms(device: Personalizer) -> list[dict[str, object]]:
    return [one for one in _records(device) if one["kind"] == "assignment"]


def _interests(
    memory: DeviceState, catalog: Catalog, muted: set[tuple[str, str]]
) -> tuple[ItemBelief, ...]:
    items = {
        ("", item_id): belief for item_id, belief in memory.profile.beliefs.items()
    }
    beliefs = {**items, **memory.profile.opinions}  # by (scope, item id)
    newest = max((at for one in beliefs.values() for _, at in one.dates), default=0)
    strengths = {what: belief.at(newest) for what, belief in beliefs.items()}
    widest = max((abs(one) for one in strengths.values()), default=1.0) or 1.0
    ordered = sorted(strengths, key=lambda what: (-abs(strengths[what]), what))
    return tuple(
        ItemBelief(
            item_id,
            _shared(catalog, item_id, scope) if scope else _title(catalog, item_id),
            strengths[scope, item_id] / widest,
            tuple(
                (kind, _day(at // 1000)) for kind, at in beliefs[scope, item_id].dates
            ),
            memory.interests.get(("item", item_id), 1.0) > 0,
            ("item", item_id) in muted,
            scope or None,
        )
        for scope, item_id in ordered[:MOST_ROWS]
    )


def _shared(catalog: Catalog, item_id: str, scope: str) -> str:
    """What an item shares with others, such as its category; its title if that is not known."""
    told = getattr(catalog[item_id], scope, None) if item_id in catalog else None
    return str(told or _title(catalog, item_id))


def _seen(device: Personalizer, catalog: Catalog) -> tuple[ItemExposures, ...]:
    times: Counter[str] = Counter()
    last: dict[str, int] = {}
    for event in device.rights.events():
        if event.kind == "impression" and event.item_id is not None:
            times[event.item_id] += 1
            last[event.item_id] = event.at_ms // 1000
    newest = sorted(times, key=lambda item_id: (-last[item_id], item_id))[:MOST_ROWS]
    return tuple(
        ItemExposures(_title(catalog, one), times[one], _day(last[one]))
        for one in newest
    )


def _switch(memory: DeviceState, purpose: str) -> ConsentSwitch:
    answered = memory.answers.newest.get(purpose)
    return ConsentSwitch(
        purpose=purpose,
        granted=answered is not None and answered.state == "granted",
        allowed=memory.consent.allows(purpose),
        since="" if answered is None else _day(answered.at),
        reason=memory.consent.reasons.get(purpose, ""),
    )


def _sent(memory: DeviceState, delta: float) -> tuple[SentReport, ...]:
    from tactful.privacy.lifetime import spent_epsilons

    charges = memory.ledger.charges
    tasks = (charge.task_id for charge in charges)
    after = dict(zip(tasks, spent_epsilons(charges, delta), strict=True))
    return tuple(
        SentReport(_day(one.at), one, after.get(one.task_id))
        for one in memory.disclosures.values()
    )


def _model(memory: DeviceState) -> str:
    if memory.adoption is None:
        return ""
    return str(memory.adoption.version)


def _weekly(limits: dict[str, object] | None) -> int | None:
    rules = [] if limits is None else limits.get("rules")
    if not isinstance(rules, list):
        return None
    return next(
        (int(one["limit"]) for one in rules if one.get("id") == "own-week"), None
    )


def _title(catalog: Catalog, item_id: str) -> str:
    return catalog[item_id].title if item_id in catalog else item_id


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
