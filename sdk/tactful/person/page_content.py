"""The content of the person's page, as plain values of one device."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from tactful.device.catalog import Catalog, Item
from tactful.device.consent import PURPOSES
from tactful.device.personalizer import Personalizer
from tactful.device.ranking.results import PreviewedItem, WhyNot
from tactful.device.rights.user_controls import WEEKLY_RULE
from tactful.device.state.device_state import DeviceState, Disclosure
from tactful.device.vault import Vault

ASKED_PURPOSES = tuple(purpose for purpose in PURPOSES if purpose != "essential")
LIST_LENGTH = 10
MAX_ANSWERS = 5  # to one question why items are not shown
MAX_ROWS = 50  # of each table; the export has all


@dataclass(frozen=True)
class ItemBelief:
    """A belief about one item: its strength from -1 to 1, and its evidence.

    `events` has (kind, day). With a `scope` the belief is about everything that shares
    it, such as "less of this category". `used` is False if the person said that it must
    not count, `hidden` is True if they want to see none of it.
    """

    item_id: str
    title: str
    strength: float
    events: tuple[tuple[str, str], ...]
    used: bool = True
    hidden: bool = False
    scope: str | None = None


@dataclass(frozen=True)
class ItemExposures:
    """The number of impressions of an item, and the last day."""

    title: str
    times: int
    last: str


@dataclass(frozen=True)
class ConsentSwitch:
    """The state of one purpose: granted, allowed now, since when, and why not."""

    purpose: str
    granted: bool
    allowed: bool
    since: str
    reason: str


@dataclass(frozen=True)
class SentReport:
    """One report, and the total epsilon after it."""

    day: str
    disclosure: Disclosure
    epsilon: float | None


@dataclass(frozen=True)
class PageContent:
    """Everything on the page.

    - `placement`: who adds noise to reports; empty if nothing is shared.
    - `reached`: True if the app reaches the person unasked.
    - `muted`: (scope, value, title) of each mute.
    - `list_known`: True if the items of the app are available.
    - `asked`: the question of the person, empty for none; `answers`: to it.
    """

    interests: tuple[ItemBelief, ...]
    seen: tuple[ItemExposures, ...]
    switches: tuple[ConsentSwitch, ...]
    sent: tuple[SentReport, ...]
    budget: float
    spent: float
    model: str
    placement: str
    balance: float
    weekly_limit: int | None
    quiet_at_night: bool
    reached: bool
    muted: tuple[tuple[str, str, str], ...]
    arms: tuple[tuple[str, str], ...]
    paused: bool
    records: int
    list_known: bool
    list_now: tuple[PreviewedItem, ...]
    asked: str
    answers: tuple[WhyNot, ...]


def page_content(
    device: Personalizer, *, asked: str = "", lists: bool = True
) -> PageContent:
    """Return the content of the page of `device`.

    `asked` is a question why items are not shown. With `lists=False` the app's items
    are not available, so no list is shown.
    """
    from tactful.privacy.lifetime import spent_epsilon

    state, catalog = device.status, device.catalog
    aggregators = device.settings.aggregators
    preview: list[PreviewedItem] = []
    if lists:
        preview = device.explain.preview(LIST_LENGTH, surface=_surface(device))
    return PageContent(
        interests=_interests(state, catalog, set(device.controls.muted)),
        seen=_seen(device, catalog),
        switches=tuple(_switch(state, purpose) for purpose in ASKED_PURPOSES),
        sent=_sent(state, device.settings.delta),
        budget=device.settings.lifetime_epsilon,
        spent=spent_epsilon(state.ledger.charges, device.settings.delta),
        model=_model(state),
        placement="" if aggregators is None else aggregators.placement,
        balance=state.balance,
        weekly_limit=_weekly(device.controls.limits),
        quiet_at_night=bool((device.controls.limits or {}).get("quiet_hours")),
        reached=bool(device.controls.interruptive_surfaces),
        muted=tuple(
            (scope, value, _title(catalog, value))
            for scope, value in device.controls.muted
        ),
        arms=tuple(
            (str(record["experiment"]), str(record["arm"]))
            for record in _assignments(device)
        ),
        paused=state.paused,
        records=len(_records(device)),
        list_known=lists,
        list_now=tuple(preview),
        asked=asked,
        answers=_answers(device, asked),
    )


def _answers(device: Personalizer, asked: str) -> tuple[WhyNot, ...]:
    """Return why items whose title contains `asked` are not shown, best match first."""
    text = asked.casefold().strip()
    if not text:
        return ()
    matches = [item for item in device.catalog if text in item.title.casefold()]
    matches.sort(key=lambda item: (len(item.title), item.title))
    surface = _surface(device)
    return tuple(
        device.explain.why_not(item.id, surface=surface)
        for item in matches[:MAX_ANSWERS]
    )


def _surface(device: Personalizer) -> str:
    """Return the surface of lists: `home`, or the first one in the app's rules."""
    surfaces = device.controls.surfaces
    return "home" if "home" in surfaces or not surfaces else surfaces[0]


def catalog_of(vault: Vault) -> Catalog:
    """Return the items in a vault by their ids, for a page without the app's catalog."""
    from tactful.device.events import StoredEvent

    records = vault.read(0, ["event"])
    item_ids = {StoredEvent.from_fields(record.fields).item_id for record in records}
    known_ids = sorted(item_id for item_id in item_ids if item_id is not None)
    return Catalog(Item(id=item_id, title=item_id) for item_id in known_ids)


def _records(device: Personalizer) -> list[dict[str, object]]:
    records = device.rights.export()["records"]
    return records if isinstance(records, list) else []


def _assignments(device: Personalizer) -> list[dict[str, object]]:
    return [record for record in _records(device) if record["kind"] == "assignment"]


def _interests(
    state: DeviceState, catalog: Catalog, muted: set[tuple[str, str]]
) -> tuple[ItemBelief, ...]:
    items = {("", item_id): belief for item_id, belief in state.profile.beliefs.items()}
    beliefs = {**items, **state.profile.opinions}  # by (scope, item id)
    dates = [at_ms for belief in beliefs.values() for _, at_ms in belief.dates]
    newest_ms = max(dates, default=0)
    strengths = {key: belief.at(newest_ms) for key, belief in beliefs.items()}
    strongest = max((abs(value) for value in strengths.values()), default=1.0) or 1.0
    ordered = sorted(strengths, key=lambda key: (-abs(strengths[key]), key))
    return tuple(
        ItemBelief(
            item_id,
            _scope_title(catalog, item_id, scope)
            if scope
            else _title(catalog, item_id),
            strengths[scope, item_id] / strongest,
            tuple(
                (kind, _day(at_ms // 1000))
                for kind, at_ms in beliefs[scope, item_id].dates
            ),
            state.interests.get(("item", item_id), 1.0) > 0,
            ("item", item_id) in muted,
            scope or None,
        )
        for scope, item_id in ordered[:MAX_ROWS]
    )


def _scope_title(catalog: Catalog, item_id: str, scope: str) -> str:
    """Return the value of an item in a scope, such as its category; else its title."""
    value = getattr(catalog[item_id], scope, None) if item_id in catalog else None
    return str(value or _title(catalog, item_id))


def _seen(device: Personalizer, catalog: Catalog) -> tuple[ItemExposures, ...]:
    times: Counter[str] = Counter()
    last: dict[str, int] = {}
    for event in device.rights.events():
        if event.kind == "impression" and event.item_id is not None:
            times[event.item_id] += 1
            last[event.item_id] = event.at_ms // 1000
    newest = sorted(times, key=lambda item_id: (-last[item_id], item_id))[:MAX_ROWS]
    return tuple(
        ItemExposures(_title(catalog, item_id), times[item_id], _day(last[item_id]))
        for item_id in newest
    )


def _switch(state: DeviceState, purpose: str) -> ConsentSwitch:
    answer = state.answers.newest.get(purpose)
    return ConsentSwitch(
        purpose=purpose,
        granted=answer is not None and answer.state == "granted",
        allowed=state.consent.allows(purpose),
        since="" if answer is None else _day(answer.at),
        reason=state.consent.reasons.get(purpose, ""),
    )


def _sent(state: DeviceState, delta: float) -> tuple[SentReport, ...]:
    from tactful.privacy.lifetime import spent_epsilons

    charges = state.ledger.charges
    tasks = (charge.task_id for charge in charges)
    after = dict(zip(tasks, spent_epsilons(charges, delta), strict=True))
    return tuple(
        SentReport(_day(disclosure.at), disclosure, after.get(disclosure.task_id))
        for disclosure in state.disclosures.values()
    )


def _model(state: DeviceState) -> str:
    if state.adoption is None:
        return ""
    return str(state.adoption.version)


def _weekly(limits: dict[str, object] | None) -> int | None:
    rules = [] if limits is None else limits.get("rules")
    if not isinstance(rules, list):
        return None
    return next(
        (int(rule["limit"]) for rule in rules if rule.get("id") == WEEKLY_RULE), None
    )


def _title(catalog: Catalog, item_id: str) -> str:
    return catalog[item_id].title if item_id in catalog else item_id


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
