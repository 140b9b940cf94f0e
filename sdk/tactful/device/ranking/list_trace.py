"""What a list was made from, small enough to keep; made again from it, the list is the same."""

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


@dataclass(frozen=True)
class ListTrace:
    """One list: what was asked and when, what limits answered, what was shown.

    `position` is the vault's newest record then; `balance` what was asked for, None for nothing;
    `model` names what was in the model, empty for none; `standard` is how many of the shown would
    stand as high for everyone, `promoted` how far below the list the lowest stood by score,
    `relaxed` how many quotas yielded. `wear` and `gains` are of each of the shown: how worn it was,
    and how much higher it stands for the person than for everyone, in [0, 1]. `at_ms` is the time
    that events are dated by, `wall` what the wall clock showed, unix seconds.
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
        """The trace of a list just made."""
        catalog, worn = (
            ranking.context.standing.shelf.catalog,
            ranking.scored.field.worn,
        )
        numbers = [catalog.number(pick.item.id) for pick in picks]
        return cls(
            decision_id=picks.decision_id,
            at_ms=at_ms,
            surface=surface,
            length=length,
            shown=tuple(pick.item.id for pick in picks),
            denied=tuple(sorted(set(denied(picks.denials)))),
            hidden=tuple(sorted(ranking.context.hidden)),
            exclude=tuple(sorted(ranking.context.excluded)),
            model=ranking.context.standing.digest,
            standard=sum(pick.is_standard for pick in picks),
            promoted=picks.promoted,
            relaxed=len(picks.relaxed),
            wear=tuple(round(much, 3) for much in worn[numbers].tolist()),
            gains=tuple(round(gain, 3) for gain in ranking.scored.gains(numbers)),
        )

    def at(self, memory: DeviceState, balance: float | None, wall: int) -> ListTrace:
        """With where in the vault it was made, what then held and what the wall clock showed."""
        allowed = memory.consent.allows("local_personalization")
        return replace(
            self, position=memory.position, balance=balance, allowed=allowed, wall=wall
        )

    def body(self) -> dict[str, object]:
        """The record body that `from_body` reads back."""
        return {
            name: list(v) if isinstance(v, tuple) else v
            for name, v in vars(self).items()
        }

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> ListTrace:
        """The trace of a record body."""
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

    def replayed(self, ranking: Ranking) -> ListReplay:
        """The list that comes out of `ranking` with the answers that limits gave then."""
        items, denied = ranking.context.standing.shelf.catalog.items, set(self.denied)
        found: list[int] = []
        for number in ranking.line():
            if len(found) == len(self.shown):
                break
            if items[number].id not in denied:
                found.append(number)
        ids = tuple(items[number].id for number in ranking.house.arranged(found))
        return ListReplay(ids, ids == self.shown)


def _share(told: object) -> float | None:
    return None if told is None else float(str(told))


@dataclass(frozen=True)
class ListReplay:
    """A list made again; `same` says whether it is the one that was shown."""

    item_ids: tuple[str, ...]
    same: bool


@dataclass(frozen=True)
class PlaceExplanation:
    """How an item came to its place: its place (from 0) in each stage's order, among all weighed.

    `place` is the one in the list before limits; None if the item was not offered.
    """

    item: Item
    place: int | None
    score: float
    source: Source
    reasons: tuple[Reason, ...]
    stages: Mapping[str, int]


def explained(ranking: Ranking, item: Item) -> PlaceExplanation:
    """The place of `item` in every stage of `ranking`."""
    number = ranking.context.standing.shelf.catalog.number(item.id)
    scored = ranking.scored
    standing = ranking.context.standing
    standard = int((standing.place[scored.numbers] < standing.place[number]).sum())
    balanced = replace(scored, final=scored.balanced)
    return PlaceExplanation(
        item=item,
        place=ranking.place(number),
        score=scored.score(number),
        source=source_of(ranking, number),
        reasons=Reasons(ranking, [number]).of(number),
        stages={
            "standard": standard,
            "balance": balanced.ranks([number])[0],
            "score": scored.ranks([number])[0],
        },
    )
