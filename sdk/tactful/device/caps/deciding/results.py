"""What the engine answers: picks with reservations, and denials that say why and until when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar, overload

from tactful.device.caps.deciding.explain_denial import RuleDenial
from tactful.device.caps.rules.subject import Showable

ItemT = TypeVar("ItemT", bound=Showable)
NowMs = Callable[[RuleDenial], int]
"""Told a refusal, says what time it is on the timeline of its rule."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Denial:
    """Why one item was not granted: which rule, what it counted, when it may come back.

    `used` and `limit` are None where nothing is counted. `next_allowed_at` None: it does not end by
    itself; else exact for sliding windows and cool-downs without open holds, a bound otherwise.
    `restored`: only because earlier shows were lost or a backup was put back; `used` counts that.
    """

    item_id: str
    reason_code: str
    rule_id: str | None = None
    rule_version: int | None = None
    author: str | None = None
    window: str | None = None
    used: float | None = None
    limit: float | None = None
    oldest_counted_at: datetime | None = None
    next_allowed_at: datetime | None = None
    wait_ms: int | None = None
    restored: bool = False

    @classmethod
    def of(cls, item_id: str, refusal: RuleDenial, wall_ms: int, now_ms: int) -> Denial:
        """The denial of `item_id`; canonical times are shown as the wall clock would show them."""
        rule, oldest, wait_ms = (
            refusal.rule,
            refusal.oldest_ms,
            refusal.wait_from(now_ms),
        )
        return cls(
            item_id=item_id,
            reason_code=refusal.reason_code,
            rule_id=rule.id if rule else None,
            rule_version=rule.version if rule else None,
            author=rule.author if rule else None,
            window=rule.window_name if rule else None,
            used=refusal.used,
            limit=refusal.limit,
            oldest_counted_at=None
            if oldest is None
            else shown(oldest - now_ms + wall_ms),
            next_allowed_at=None if wait_ms is None else shown(wall_ms + wait_ms),
            wait_ms=wait_ms,
            restored=refusal.restored,
        )


class Denials(Sequence[Denial]):
    """The denials of one decision, each made when it is looked at: most never are."""

    def __init__(
        self, refused: Sequence[tuple[str, RuleDenial]], wall_ms: int, now: NowMs
    ) -> None:
        self._refused, self._wall_ms, self._now = refused, wall_ms, now

    @property
    def item_ids(self) -> list[str]:
        """What was denied, in the order of the candidates."""
        return [item_id for item_id, _ in self._refused]

    @overload
    def __getitem__(self, place: int) -> Denial: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Denial]: ...
    def __getitem__(self, place: int | slice) -> Denial | Sequence[Denial]:
        """The denial at a place, in the order of the candidates."""
        if isinstance(place, slice):
            return Denials(self._refused[place], self._wall_ms, self._now)
        item_id, refusal = self._refused[place]
        return Denial.of(item_id, refusal, self._wall_ms, self._now(refusal))

    def __len__(self) -> int:
        return len(self._refused)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(list(self))


@dataclass(frozen=True, slots=True)
class GrantedItem(Generic[ItemT]):
    """One granted slot: show the item and confirm its reservation before it expires."""

    slot: int
    item: ItemT
    reservation_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Decision(Generic[ItemT]):
    """One answer of `decide`: at most k picks, and why the others before them were passed over.

    `starving` are the ids of items that could be shown and wait for longer than the rules allow.
    """

    decision_id: str
    picks: tuple[GrantedItem[ItemT], ...]
    denials: Sequence[Denial]
    starving: tuple[str, ...] = ()

    @property
    def next_allowed_at(self) -> datetime | None:
        """The first time one of the denied items may come back; None if none does by itself."""
        return min(
            (d.next_allowed_at for d in self.denials if d.next_allowed_at), default=None
        )


@dataclass(frozen=True, slots=True)
class Impression:
    """One recorded show. `late`: it came after its reservation had ended. `repeated`: known before.

    `overrun` names the rules that it leaves above their limit.
    """

    reservation_id: str
    item_id: str | None
    evidence: str
    late: bool = False
    repeated: bool = False
    overrun: tuple[str, ...] = ()


def denied(denials: Sequence[Denial]) -> list[str]:
    """The item ids of denials, which need not be made for that."""
    if isinstance(denials, Denials):
        return denials.item_ids
    return [denial.item_id for denial in denials]


def shown(wall_ms: int) -> datetime:
    """Unix milliseconds as an aware datetime; kept inside the years 1 to 9999."""
    return EPOCH + timedelta(milliseconds=min(max(wall_ms, 0), 253_402_300_799_000))
