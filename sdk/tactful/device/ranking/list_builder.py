"""The lists of one device: the pure ranking functions, combined with vault and caps.

Each list leaves a trace of what it was made from. The last traces are kept in memory;
with consent to diagnostics they are also stored in the vault. From a trace a list can
be replayed, and each of its places explained.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, SupportsIndex, overload

import numpy as np

from tactful.device import checks
from tactful.device.caps import CapEngine
from tactful.device.catalog import Catalog, Item
from tactful.device.ranking.device_metrics import DeviceMetrics, measure_lists
from tactful.device.ranking.explanations.reasons import Reasons, citations_hold
from tactful.device.ranking.list_trace import (
    ListReplay,
    ListTrace,
    PlaceExplanation,
    explain_place,
)
from tactful.device.ranking.pipeline import Ranking, rank
from tactful.device.ranking.results import Picks, PreviewedItem, WhyNot, make_picks
from tactful.device.ranking.scoring.balance import by_evidence, most_personal
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays, ItemPopularity
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.taste import NOTHING, Shows, Taste, taste_of
from tactful.device.ranking.selection.near_duplicates import standing
from tactful.device.settings import Settings
from tactful.device.state.device_state import DeviceState
from tactful.device.state.profile import Profile
from tactful.device.state.projection import project
from tactful.device.vault import Vault
from tactful.errors import InvalidInput

if TYPE_CHECKING:
    from tactful.learning.model import Model
    from tactful.protocol.documents.model_release import ModelRelease

DAY_MS = 86_400_000
MOST_REFUSED = 2_000  # items that caps may deny before a place stays empty
HIDDEN = "NOT_INTERESTED"  # the reason code of the caps for a hidden item
NOTICEABLE_WEAR = 0.1  # of one show; an item with less counts as fresh
TRACES_KEPT = 32  # in memory
MOST_PLACES = 1_000_000  # each empty place has a reason, which takes memory


@dataclass(frozen=True)
class ListInputs:
    """The device's state when a list is made.

    `memory` is the projection of the vault, `profile` returns the profile, which is
    read only for personal lists. `model` is the model in use, `release` what announced
    it. `wall` is the wall clock, unix seconds: releases expire by it.
    """

    memory: DeviceState
    profile: Callable[[], Profile]
    model: Model | None
    release: ModelRelease | None
    wall: int


@dataclass(frozen=True)
class ListRequest:
    """A request of the app for one list.

    `balance` and `diversity` apply to this list alone; None means the settings.
    `exclude` has ids that the app cannot offer now. `hidden` has the (scope, value)
    pairs that are hidden from the person; None asks the caps.
    """

    length: int
    surface: str
    balance: float | None = None
    exclude: frozenset[str] = frozenset()
    hidden: frozenset[tuple[str, str]] | None = None
    diversity: float | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field; convert numpy numbers to plain ones."""
        object.__setattr__(self, "length", _count(self.length))
        for name in ("balance", "diversity"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _share(name, value))
        checks.text("surface", self.surface)


def excluded(ids: Iterable[str]) -> frozenset[str]:
    """Return the ids as a set; raise InvalidInput for a single string."""
    return checks.names("exclude", ids)


def _count(value: SupportsIndex) -> int:
    try:
        count = index(value)
    except TypeError:
        count = -1
    if isinstance(value, bool) or not 0 <= count <= MOST_PLACES:
        fix = f"use 0 to {MOST_PLACES:,}"
        raise InvalidInput("n", f"{checks.shown(value)} is not a number of items", fix)
    return count


def _share(name: str, value: float) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = -1.0
    if isinstance(value, str) or not 0 <= share <= 1:
        raise InvalidInput(name, f"{value!r} is out of range", "use 0 to 1")
    return share


class ListBuilder:
    """The lists of one device, with their traces."""

    def __init__(
        self, catalog: Catalog, settings: Settings, vault: Vault, caps: CapEngine
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._vault = vault
        self._caps = caps
        self._shelf = CatalogArrays(catalog)
        self._popularity: ItemPopularity | None = None
        is_sensitive = self._shelf.matching(settings.list_policy.concern)
        self._sensitive = frozenset(np.flatnonzero(is_sensitive).tolist())
        self._shows = Shows(self._shelf, self._sensitive)
        self._traces: OrderedDict[str, ListTrace] = OrderedDict()

    def recommend(self, request: ListRequest, inputs: ListInputs, now_ms: int) -> Picks:
        """Return the list, with reasons and reservations, and record its trace."""
        ranking = self._ranking(request, inputs, now_ms)
        decision = self._caps.decide(
            _RankedItems(ranking, self._catalog),
            request.length,
            request.surface,
            max_refill=MOST_REFUSED,
        )
        picks = make_picks(ranking, decision, request.length)
        if picks.decision_id:
            trace = ListTrace.of(
                picks, ranking, request.length, request.surface, now_ms
            )
            self._record_trace(trace, inputs, request)
        return picks

    def preview(
        self, request: ListRequest, inputs: ListInputs, now_ms: int, ahead_ms: int
    ) -> list[PreviewedItem]:
        """Return the list as it would be `ahead_ms` from now if nothing else happened.

        Nothing is reserved or recorded.
        """
        later = replace(inputs, wall=inputs.wall + ahead_ms // 1000)
        ranking = self._ranking(request, later, now_ms + ahead_ms)
        order = self._simulated(ranking, request, ahead_ms)
        reasons = Reasons(ranking, order)
        items = self._catalog.items
        return [PreviewedItem(items[number], reasons.of(number)) for number in order]

    def _simulated(
        self, ranking: Ranking, request: ListRequest, ahead_ms: int
    ) -> list[int]:
        """Return the item numbers that caps would grant `ahead_ms` from now."""
        surface = request.surface
        granted = list[int]()
        for number in ranking.line():
            if len(granted) == request.length:
                break
            item = self._catalog.items[number]
            if not self._caps.explanations.simulate(item, surface, ahead_ms=ahead_ms):
                granted.append(number)
        return ranking.placed_list.arranged(granted)

    def why_not(
        self, item: Item, request: ListRequest, inputs: ListInputs, now_ms: int
    ) -> WhyNot:
        """Return the place of an item before caps, and the caps that deny it."""
        ranking = self._ranking(request, inputs, now_ms)
        number = self._catalog.number(item.id)
        is_worn = ranking.context.taste.wear.get(number, 0.0) > NOTICEABLE_WEAR
        denials = self._caps.explanations.why_not(item, request.surface)
        return WhyNot(item, ranking.place(number), denials, is_worn)

    def replay(self, decision_id: str, inputs: ListInputs) -> ListReplay:
        """Return the list of a decision, made again from the state at that time."""
        trace = self._trace(decision_id)
        return trace.replay(self._past_ranking(trace, inputs))

    def explain(
        self, decision_id: str, item: Item, inputs: ListInputs
    ) -> PlaceExplanation:
        """Return how an item got its place in an earlier list, stage by stage."""
        trace = self._trace(decision_id)
        return explain_place(self._past_ranking(trace, inputs), item)

    def measures(self, inputs: ListInputs, now_ms: int) -> DeviceMetrics | None:
        """Return the metrics of all lists with a trace; None before the first list."""
        traces = self._all_traces()
        taste = NOTHING
        if inputs.memory.consent.allows("local_personalization"):
            taste = self._taste(inputs, now_ms)
        citations: list[bool] = []
        if traces:
            request = ListRequest(traces[-1].length, traces[-1].surface)
            ranking = self._ranking(request, inputs, now_ms)
            citations = citations_hold(ranking, ranking.placed_list.numbers)
        popularity = self._popularity_of(inputs.model)
        return measure_lists(traces, popularity, taste, citations)

    def forget(self) -> None:
        """Delete all traces in memory."""
        self._traces.clear()

    def _ranking(
        self, request: ListRequest, inputs: ListInputs, now_ms: int
    ) -> Ranking:
        context = self._context(request, inputs, now_ms)
        return rank(context, length=request.length)

    def _context(
        self, request: ListRequest, inputs: ListInputs, now_ms: int
    ) -> ListContext:
        """Return the context of a list.

        The profile is read only if it may be personal.
        """
        settings = self._settings
        balance = self._highest_balance(request, inputs)
        diversity = request.diversity
        if diversity is None:
            diversity = settings.diversity
        taste = NOTHING
        seed = b""
        today = now_ms // DAY_MS
        hidden = request.hidden
        if balance > 0:
            taste = self._taste(inputs, now_ms)
            balance = min(balance, by_evidence(taste.known))
            seed = self._seed(f"explore {request.surface} {today}")
            if hidden is None:
                hidden = self._hidden(request.surface)
        return ListContext(
            self._popularity_of(inputs.model),
            balance,
            diversity=diversity,
            list_policy=settings.list_policy,
            rules=settings.placement_rules,
            taste=taste,
            today=today,
            seed=seed,
            excluded=request.exclude,
            hidden=hidden or frozenset(),
        )

    def _highest_balance(self, request: ListRequest, inputs: ListInputs) -> float:
        """Return the highest balance that app, person, consent and model allow."""
        state = inputs.memory
        surfaces = self._settings.list_policy.surfaces
        requested = 1.0 if request.balance is None else request.balance
        staleness = 1.0
        if inputs.release is not None:
            staleness = freshness(inputs.release, inputs.wall)
        return most_personal(
            app=self._settings.balance,
            surface=surfaces.get(request.surface, 1.0),
            person=min(state.balance, requested),
            allowed=state.consent.allows("local_personalization"),
            staleness=staleness,
        )

    def _taste(self, inputs: ListInputs, now_ms: int) -> Taste:
        return taste_of(
            inputs.profile(),
            self._popularity_of(inputs.model).shelf,
            now_ms,
            interests=inputs.memory.interests,
            sensitive=self._sensitive,
            shows=self._shows,
        )

    def _seed(self, purpose: str) -> bytes:
        """Return 32 bytes for `purpose`, secret unless the list policy sets a seed."""
        policy_seed = self._settings.list_policy.seed
        if policy_seed:
            return hashlib.sha256(f"{policy_seed} {purpose}".encode()).digest()
        return self._vault.blind(purpose)

    def _popularity_of(self, model: Model | None) -> ItemPopularity:
        """Return the standard scores by `model`, computed once for each model.

        A model for another number of items is ignored.
        """
        if model is not None and len(model.popularity) != len(self._catalog):
            model = None
        if self._popularity is None or self._popularity.model is not model:
            self._popularity = standing(self._shelf, model)
        return self._popularity

    def _record_trace(
        self, trace: ListTrace, inputs: ListInputs, request: ListRequest
    ) -> None:
        """Keep the trace in memory; with consent to diagnostics also in the vault."""
        state = inputs.memory
        stamped = trace.with_state(state, request.balance, inputs.wall)
        complete = replace(stamped, diversity=request.diversity)
        self._traces[trace.decision_id] = complete
        if len(self._traces) > TRACES_KEPT:
            self._traces.popitem(last=False)
        if state.consent.allows("diagnostics"):
            self._vault.append("list_trace", complete.body())

    def _stored_traces(self) -> Iterator[ListTrace]:
        """Yield the traces in the vault, oldest first."""
        for record in self._vault.read(0, ["list_trace"]):
            yield ListTrace.from_body(record.body)

    def _all_traces(self) -> list[ListTrace]:
        """Return the traces in the vault and in memory, each decision once."""
        traces = {trace.decision_id: trace for trace in self._stored_traces()}
        traces.update(self._traces)
        return list(traces.values())

    def _trace(self, decision_id: str) -> ListTrace:
        """Return the trace of a decision; raise InvalidInput if it is unknown."""
        if decision_id in self._traces:
            return self._traces[decision_id]
        for trace in self._stored_traces():
            if trace.decision_id == decision_id:
                return trace
        raise InvalidInput(
            "decision_id", f"{decision_id!r} is not known", "use one of a late list"
        )

    def _past_ranking(self, trace: ListTrace, inputs: ListInputs) -> Ranking:
        """Return the ranking of a trace, from the state at that time.

        Raise InvalidInput if the model of that time is no longer in use.
        """
        state = project(self._vault, DeviceState(), until=trace.position)
        if trace.model != self._popularity_of(inputs.model).digest:
            raise InvalidInput(
                "decision_id", "its model is no longer kept", "use a later one"
            )
        past_inputs = ListInputs(
            memory=state,
            profile=lambda: state.profile,
            model=inputs.model,
            release=inputs.release,
            wall=trace.wall,
        )
        request = ListRequest(
            trace.length,
            trace.surface,
            balance=trace.balance if trace.allowed else 0.0,
            exclude=frozenset(trace.exclude),
            hidden=frozenset(trace.hidden),
            diversity=trace.diversity,
        )
        return self._ranking(request, past_inputs, trace.at_ms)

    def _hidden(self, surface: str) -> frozenset[tuple[str, str]]:
        """Return the (scope, value) pairs that are hidden from the person.

        The caps decide on one example item of each pair.
        """
        examples = {}
        for scope, value in self._caps.blocks.muted():
            has_value = self._shelf.has_value(scope, value)
            if has_value.any():
                number = int(has_value.argmax())
                examples[scope, value] = self._catalog.items[number]
        if not examples:
            return frozenset()
        reasons = self._caps.prefilter(list(examples.values()), surface).reasons
        return frozenset(
            pair for pair, item in examples.items() if reasons.get(item.id) == HIDDEN
        )


def freshness(release: ModelRelease, now: int) -> float:
    """Return the freshness of a model at `now` (unix seconds), in [0, 1].

    It is 1 until the release expires, then halves with each further lifetime.
    """
    overdue = now - release.expires
    lifetime = release.expires - release.created
    return float(min(1.0, 2.0 ** (-overdue / lifetime)))


class _RankedItems(Sequence[Item]):
    """The items of a ranking in the order in which caps decide, computed lazily."""

    def __init__(self, ranking: Ranking, catalog: Catalog) -> None:
        self._line = ranking.line()
        self._catalog = catalog
        self._items = list[Item]()

    def __len__(self) -> int:
        """Return the catalog's size, an upper bound: ineligible items are left out."""
        return len(self._catalog)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        end = place.indices(len(self))[1] if isinstance(place, slice) else place + 1
        missing = max(end - len(self._items), 0)
        for number in islice(self._line, missing):
            self._items.append(self._catalog.at(number))
        return self._items[place]
