"""Makes lists, and says afterwards how: the ranking's pure functions beside vault, caps and clock.

What a list was made from is kept as a trace: the last few in memory; in the vault too if the person
agreed to diagnostics. So the same list can be made again, and every place in it explained.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, SupportsIndex, overload

import numpy as np

from tactful.device import checks
from tactful.device.caps import CapEngine
from tactful.device.catalog import Catalog, Item
from tactful.device.ranking.device_metrics import DeviceMetrics, measured
from tactful.device.ranking.explanations.reasons import Reasons, tested
from tactful.device.ranking.list_trace import (
    ListReplay,
    ListTrace,
    PlaceExplanation,
    explained,
)
from tactful.device.ranking.pipeline import Ranking, rank
from tactful.device.ranking.results import Picks, PreviewedItem, WhyNot, picked
from tactful.device.ranking.scoring.balance import by_evidence, most_personal
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays, ItemPopularity
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.taste import NOTHING, Shows, Taste, taste_of
from tactful.device.ranking.selection.near_duplicates import standing
from tactful.device.settings import Settings
from tactful.device.state.device_state import DeviceState, recall
from tactful.device.state.profile import Profile
from tactful.device.vault import Vault
from tactful.errors import InvalidInput

if TYPE_CHECKING:
    from tactful.learning.model import Model
    from tactful.protocol.documents.model_release import ModelRelease

DAY_MS = 86_400_000
MOST_REFUSED = 2_000  # items that limits may refuse before a place is left empty
HIDDEN = "NOT_INTERESTED"  # the reason that limits give for it
WORN = 0.1  # of one show: below, an item is as good as fresh
TRACES_KEPT = 32  # in memory
MOST_PLACES = 1_000_000  # each empty one has its reason, which takes memory


@dataclass(frozen=True)
class ListInputs:
    """What is known when a list is made: settings, the model in use, the profile if it is asked.

    `wall` is what the wall clock shows, unix seconds: releases are dated by it, events are not.
    """

    memory: DeviceState
    profile: Callable[[], Profile]
    model: Model | None
    release: ModelRelease | None
    wall: int


@dataclass(frozen=True)
class ListRequest:
    """What the app asks for: balance and diversity of this list alone, ids it cannot offer now.

    `hidden` is what is hidden from the person, (scope, value); None asks the limits.
    """

    length: int
    surface: str
    balance: float | None = None
    exclude: frozenset[str] = frozenset()
    hidden: frozenset[tuple[str, str]] | None = None
    diversity: float | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInput for what makes no sense; numbers of numpy become plain ones."""
        object.__setattr__(self, "length", _count(self.length))
        for name in ("balance", "diversity"):
            if (told := getattr(self, name)) is not None:
                object.__setattr__(self, name, _share(name, told))
        checks.text("surface", self.surface)


def excluded(ids: Iterable[str]) -> frozenset[str]:
    """The ids as a set; raises InvalidInput for a single text, whose letters would be taken."""
    return checks.names("exclude", ids)


def _count(told: SupportsIndex) -> int:
    try:
        count = index(told)
    except TypeError:
        count = -1
    if isinstance(told, bool) or not 0 <= count <= MOST_PLACES:
        fix = f"use 0 to {MOST_PLACES:,}"
        raise InvalidInput("n", f"{checks.shown(told)} is no number of items", fix)
    return count


def _share(name: str, told: float) -> float:
    try:
        share = float(told)
    except (TypeError, ValueError):
        share = -1.0
    if isinstance(told, str) or not 0 <= share <= 1:
        raise InvalidInput(name, f"{told!r} is out of range", "use 0 to 1")
    return share


class ListBuilder:
    """All lists of one device."""

    def __init__(
        self, catalog: Catalog, settings: Settings, vault: Vault, caps: CapEngine
    ) -> None:
        self._catalog, self._settings, self._vault, self._caps = (
            catalog,
            settings,
            vault,
            caps,
        )
        self._shelf = CatalogArrays(catalog)
        self._standing: ItemPopularity | None = None
        sensitive = np.flatnonzero(self._shelf.those(settings.list_policy.concern))
        self._sensitive = frozenset(sensitive.tolist())
        self._shows = Shows(self._shelf, self._sensitive)
        self._traces: OrderedDict[str, ListTrace] = OrderedDict()

    def recommend(self, asked: ListRequest, known: ListInputs, now_ms: int) -> Picks:
        """The list, reserved, with reasons; noted so that it can be explained."""
        ranking = self._ranking(asked, known, now_ms)
        line = _Line(ranking, self._catalog)
        decision = self._caps.decide(
            line, asked.length, asked.surface, max_refill=MOST_REFUSED
        )
        picks = picked(ranking, decision, asked.length)
        if picks.decision_id:
            self._note(
                ListTrace.of(picks, ranking, asked.length, asked.surface, now_ms),
                known,
                asked,
            )
        return picks

    def preview(
        self, asked: ListRequest, known: ListInputs, now_ms: int, ahead_ms: int
    ) -> list[PreviewedItem]:
        """Return the list as it would be `ahead_ms` from now if nothing happened until then."""
        later = replace(known, wall=known.wall + ahead_ms // 1000)
        ranking = self._ranking(asked, later, now_ms + ahead_ms)
        order = self._foreseen(ranking, asked, ahead_ms)
        reasons, items = Reasons(ranking, order), self._catalog.items
        return [PreviewedItem(items[number], reasons.of(number)) for number in order]

    def _foreseen(
        self, ranking: Ranking, asked: ListRequest, ahead_ms: int
    ) -> list[int]:
        items, found = self._catalog.items, list[int]()
        for number in ranking.line():
            if len(found) == asked.length:
                break
            if not self._caps.simulate(items[number], asked.surface, ahead_ms=ahead_ms):
                found.append(number)
        return ranking.house.arranged(found)

    def why_not(
        self, item: Item, asked: ListRequest, known: ListInputs, now_ms: int
    ) -> WhyNot:
        """Where an item stands before limits, and what holds it back."""
        ranking = self._ranking(asked, known, now_ms)
        number = self._catalog.number(item.id)
        worn = ranking.context.taste.wear.get(number, 0.0) > WORN
        denials = self._caps.why_not(item, asked.surface)
        return WhyNot(item, ranking.place(number), denials, worn)

    def replay(self, decision_id: str, known: ListInputs) -> ListReplay:
        """The list of a decision made again from what was known then."""
        trace = self._trace(decision_id)
        return trace.replayed(self._again(trace, known))

    def explain(
        self, decision_id: str, item: Item, known: ListInputs
    ) -> PlaceExplanation:
        """How an item came to its place in an earlier list, stage by stage."""
        trace = self._trace(decision_id)
        return explained(self._again(trace, known), item)

    def measures(self, known: ListInputs, now_ms: int) -> DeviceMetrics | None:
        """What the lists that are still known did; None before the first."""
        stored = [
            ListTrace.from_body(record.body)
            for record in self._vault.read(0, ["trace"])
        ]
        traces = {
            trace.decision_id: trace for trace in [*stored, *self._traces.values()]
        }
        learns = known.memory.consent.allows("local_personalization")
        taste = self._taste(known, now_ms) if learns else NOTHING
        last = next(reversed(traces.values()), None)
        cited = (
            []
            if last is None
            else self._tested(ListRequest(last.length, last.surface), known, now_ms)
        )
        return measured(list(traces.values()), self._worth(known.model), taste, cited)

    def _tested(self, asked: ListRequest, known: ListInputs, now_ms: int) -> list[bool]:
        ranking = self._ranking(asked, known, now_ms)
        return tested(ranking, ranking.house.numbers)

    def forget(self) -> None:
        """Let go of all traces in memory."""
        self._traces.clear()

    def _ranking(self, asked: ListRequest, known: ListInputs, now_ms: int) -> Ranking:
        return rank(self._context(asked, known, now_ms), length=asked.length)

    def _context(
        self, asked: ListRequest, known: ListInputs, now_ms: int
    ) -> ListContext:
        """The profile is asked for only if the list may be personal at all."""
        settings, memory = self._settings, known.memory
        list_policy = settings.list_policy
        balance = most_personal(
            app=settings.balance,
            surface=list_policy.surfaces.get(asked.surface, 1.0),
            person=min(memory.balance, 1.0 if asked.balance is None else asked.balance),
            allowed=memory.consent.allows("local_personalization"),
            staleness=1.0
            if known.release is None
            else freshness(known.release, known.wall),
        )
        taste, seed, today = NOTHING, b"", now_ms // DAY_MS
        hidden = asked.hidden
        if balance > 0:
            taste = self._taste(known, now_ms)
            balance = min(balance, by_evidence(taste.known))
            seed = self._seed(f"explore {asked.surface} {today}")
            hidden = self._hidden(asked.surface) if hidden is None else hidden
        return ListContext(
            self._worth(known.model),
            balance,
            diversity=settings.diversity
            if asked.diversity is None
            else asked.diversity,
            list_policy=list_policy,
            rules=settings.placement_rules,
            taste=taste,
            today=today,
            seed=seed,
            excluded=asked.exclude,
            hidden=hidden or frozenset(),
        )

    def _taste(self, known: ListInputs, now_ms: int) -> Taste:
        return taste_of(
            known.profile(),
            self._worth(known.model).shelf,
            now_ms,
            interests=known.memory.interests,
            sensitive=self._sensitive,
            shows=self._shows,
        )

    def _seed(self, what: str) -> bytes:
        own = self._settings.list_policy.seed
        return (
            hashlib.sha256(f"{own} {what}".encode()).digest()
            if own
            else self._vault.blind(what)
        )

    def _worth(self, model: Model | None) -> ItemPopularity:
        """What the items are worth to everyone, once for each model; one of other items is none."""
        if model is not None and len(model.popularity) != len(self._catalog):
            model = None
        if self._standing is None or self._standing.model is not model:
            self._standing = standing(self._shelf, model)
        return self._standing

    def _note(self, trace: ListTrace, known: ListInputs, asked: ListRequest) -> None:
        kept = replace(
            trace.at(known.memory, asked.balance, known.wall), diversity=asked.diversity
        )
        self._traces[trace.decision_id] = kept
        if len(self._traces) > TRACES_KEPT:
            self._traces.popitem(last=False)
        if known.memory.consent.allows("diagnostics"):
            self._vault.append("trace", kept.body())

    def _trace(self, decision_id: str) -> ListTrace:
        if decision_id in self._traces:
            return self._traces[decision_id]
        for record in self._vault.read(0, ["trace"]):
            trace = ListTrace.from_body(record.body)
            if trace.decision_id == decision_id:
                return trace
        raise InvalidInput(
            "decision_id", f"{decision_id!r} is not known", "use one of a late list"
        )

    def _again(self, trace: ListTrace, known: ListInputs) -> Ranking:
        then = recall(self._vault, DeviceState(), until=trace.position)
        if trace.model != self._worth(known.model).digest:
            raise InvalidInput(
                "decision_id", "its model is no longer kept", "use a later one"
            )
        before = ListInputs(
            then, lambda: then.profile, known.model, known.release, trace.wall
        )
        asked = ListRequest(
            trace.length,
            trace.surface,
            trace.balance if trace.allowed else 0.0,
            frozenset(trace.exclude),
            frozenset(trace.hidden),
            trace.diversity,
        )
        return self._ranking(asked, before, trace.at_ms)

    def _hidden(self, surface: str) -> frozenset[tuple[str, str]]:
        """What the person hid and still wants hidden, (scope, value): an item of each is asked."""
        having = {what: self._shelf.having(*what) for what in self._caps.muted()}
        items = {
            w: self._catalog.items[int(m.argmax())]
            for w, m in having.items()
            if m.any()
        }
        answer = (
            self._caps.prefilter(list(items.values()), surface).reasons if items else {}
        )
        return frozenset(
            what for what, item in items.items() if answer.get(item.id) == HIDDEN
        )


def freshness(release: ModelRelease, now: int) -> float:
    """1 until a release expires, then halved for each further lifetime it had; unix seconds."""
    late = now - release.expires
    return float(min(1.0, 2.0 ** (-late / (release.expires - release.created))))


class _Line(Sequence[Item]):
    """The items of a ranking in the order in which limits are asked, found as they are needed."""

    def __init__(self, ranking: Ranking, catalog: Catalog) -> None:
        self._line, self._catalog, self._found = ranking.line(), catalog, list[Item]()

    def __len__(self) -> int:
        """As long as the catalog: what is not offered makes it end before."""
        return len(self._catalog)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        end = place.indices(len(self))[1] if isinstance(place, slice) else place + 1
        more = islice(self._line, max(end - len(self._found), 0))
        self._found += [self._catalog.at(number) for number in more]
        return self._found[place]
