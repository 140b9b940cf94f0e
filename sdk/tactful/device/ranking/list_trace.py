"""Traces of lists: everything that is needed to replay and to explain a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tactful.device.caps.deciding.results import denied
from tactful.device.caps.rules.subject import texts
from tactful.device.catalog import Item
from tactful.device.ranking.explanations.reasons import Reason, Reasons
from tactful.device.ranking.pipeline import Ranking
from tactful.device.ranking.results import Picks, source_of
from tactful.device.ranking.values import Source
from tactful.device.state.device_state import DeviceState
from tactful.json_values import JsonResult


@dataclass(frozen=True)
class ListTrace:
    """One list: the request, the answers of the caps, and the items shown.

    `at_ms` is the time by which events are dated, `wall` the wall clock in unix
    seconds. `position` is the newest vault record at that time. `balance` and
    `diversity` are those of the request, None if it had none. `allowed` is the consent
    to personalization. `model` is the model's digest, empty without a model. `standard`
    counts the shown items that would rank as high for everyone. `promoted` is how many
    places below the list its lowest item ranks by score, `relaxed` the number of quotas
    that yielded. `wear` and `gains` have one value for each shown item: its exposure
    fatigue, and how much its personal score exceeds the standard one, in [0, 1].
    """

    decision_id: str
    at_ms: int
    surface: str
    length: int
    shown: tuple[str, ...]
    denied: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    hidden: tuple[tuple[str, str], ...] = ()
    balance: float | None = None
    position: int = 0
    allowed: bool = False
    model: str = ""
    standard: int = 0
    promoted: int = 0
    relaxed: int = 0
    wear: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()
    wall: int = 0
    diversity: float | None = None

    @classmethod
    def of(
        cls, picks: Picks, ranking: Ranking, length: int, surface: str, at_ms: int
    ) -> ListTrace:
        """Return the trace of a list that was just made."""
        context = ranking.context
        numbers = [context.standing.shelf.catalog.number(p.item.id) for p in picks]
        wear = ranking.scored.field.worn[numbers].tolist()
        gains = ranking.scored.gains(numbers)
        return cls(
            decision_id=picks.decision_id,
            at_ms=at_ms,
            surface=surface,
            length=length,
            shown=tuple(pick.item.id for pick in picks),
            denied=tuple(sorted(set(denied(picks.denials)))),
            hidden=tuple(sorted(context.hidden)),
            exclude=tuple(sorted(context.excluded)),
            model=context.standing.digest,
            standard=sum(pick.is_standard for pick in picks),
            promoted=picks.promoted,
            relaxed=len(picks.relaxed),
            wear=tuple(round(value, 3) for value in wear),
            gains=tuple(round(gain, 3) for gain in gains),
        )

    def with_state(
        self, state: DeviceState, balance: float | None, wall: int
    ) -> ListTrace:
        """Return the trace with the device state, requested balance and wall clock."""
        return replace(
            self,
            position=state.position,
            balance=balance,
            allowed=state.consent.allows("local_personalization"),
            wall=wall,
        )

    def body(self) -> dict[str, object]:
        """Return the record body, which `from_body` reads."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> ListTrace:
        """Return the trace that a record body describes."""
        hidden = body["hidden"]
        pairs = hidden if isinstance(hidden, list) else []
        return cls(
            decision_id=str(body["decision_id"]),
            at_ms=int(str(body["at_ms"])),
            surface=str(body["surface"]),
            length=int(str(body["length"])),
            shown=texts(body["shown"]),
            denied=texts(body["denied"]),
            hidden=tuple((scope, value) for scope, value in map(texts, pairs)),
            exclude=texts(body["exclude"]),
            balance=_share(body["balance"]),
            position=int(str(body["position"])),
            allowed=bool(body["allowed"]),
            model=str(body.get("model", "")),
            standard=int(str(body.get("standard", 0))),
            promoted=int(str(body.get("promoted", 0))),
            relaxed=int(str(body.get("relaxed", 0))),
            wear=tuple(map(float, texts(body.get("wear")))),
            gains=tuple(map(float, texts(body.get("gains")))),
            wall=int(str(body.get("wall", 0))),
            diversity=_share(body.get("diversity")),
        )

    def replay(self, ranking: Ranking) -> ListReplay:
        """Return the list of `ranking` with the denials that caps gave at that time."""
        items = ranking.context.standing.shelf.catalog.items
        denied_ids = set(self.denied)
        granted: list[int] = []
        for number in ranking.line():
            if len(granted) == len(self.shown):
                break
            if items[number].id not in denied_ids:
                granted.append(number)
        order = ranking.placed_list.arranged(granted)
        ids = tuple(items[number].id for number in order)
        return ListReplay(ids, ids == self.shown)


def _share(value: object) -> float | None:
    return None if value is None else float(str(value))


@dataclass(frozen=True)
class ListReplay(JsonResult):
    """A replayed list; `same` is True if it equals the list that was shown."""

    item_ids: tuple[str, ...]
    same: bool


@dataclass(frozen=True)
class PlaceExplanation(JsonResult):
    """The explanation of an item's place in an earlier list.

    `place` is its place in the list before caps, from 0; None if it was not eligible.
    `stages` has its rank, from 0, among all candidates after each stage.
    """

    item: Item
    place: int | None
    score: float
    source: Source
    reasons: tuple[Reason, ...]
    stages: Mapping[str, int]


def explain_place(ranking: Ranking, item: Item) -> PlaceExplanation:
    """Return the place of `item` in every stage of `ranking`."""
    scored = ranking.scored
    standing = ranking.context.standing
    number = standing.shelf.catalog.number(item.id)
    is_above = standing.place[scored.numbers] < standing.place[number]
    balanced = replace(scored, final=scored.balanced)
    return PlaceExplanation(
        item=item,
        place=ranking.place(number),
        score=scored.score(number),
        source=source_of(ranking, number),
        reasons=Reasons(ranking, [number]).of(number),
        stages={
            "standard": int(is_above.sum()),
            "balance": balanced.ranks([number])[0],
            "score": scored.ranks([number])[0],
        },
    )
