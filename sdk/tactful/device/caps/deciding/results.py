"""Results of decisions: picks with reservations, and denials with reason and end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar, overload

from tactful.device.caps.deciding.explain_denial import RuleDenial
from tactful.device.caps.rules.subject import Showable
from tactful.json_values import JsonResult

ItemT = TypeVar("ItemT", bound=Showable)
# Returns the current canonical time on the timeline of a denial's rule.
NowMs = Callable[[RuleDenial], int]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_DATETIME_MS = 253_402_300_799_000  # 9999-12-31T23:59:59Z


@dataclass(frozen=True, slots=True)
class Denial(JsonResult):
    """Reason why one item was not granted: the rule, its count, and when it may return.

    `used` and `limit` are None where nothing is counted. `next_allowed_at` is None if
    the denial does not end by itself. It is exact for sliding windows and cool-downs
    without open holds, and the latest time otherwise. `restored` means that the rule
    denies only because earlier impressions were lost or a backup was restored; `used`
    includes that.
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
    def of(cls, item_id: str, denial: RuleDenial, wall_ms: int, now_ms: int) -> Denial:
        """Return the denial of `item_id`, with canonical times as wall clock times."""
        rule = denial.rule
        wait_ms = denial.wait_from(now_ms)
        next_allowed_at = None if wait_ms is None else as_datetime(wall_ms + wait_ms)
        oldest_counted_at = None
        if denial.oldest_ms is not None:
            oldest_counted_at = as_datetime(denial.oldest_ms - now_ms + wall_ms)
        return cls(
            item_id=item_id,
            reason_code=denial.reason_code,
            rule_id=rule.id if rule else None,
            rule_version=rule.version if rule else None,
            author=rule.author if rule else None,
            window=rule.window_name if rule else None,
            used=denial.used,
            limit=denial.limit,
            oldest_counted_at=oldest_counted_at,
            next_allowed_at=next_allowed_at,
            wait_ms=wait_ms,
            restored=denial.restored,
        )


class Denials(Sequence[Denial]):
    """The denials of one decision; each is built on access, as most are not read."""

    def __init__(
        self, denied_items: Sequence[tuple[str, RuleDenial]], wall_ms: int, now: NowMs
    ) -> None:
        self._denied_items = denied_items
        self._wall_ms = wall_ms
        self._now = now

    @property
    def item_ids(self) -> list[str]:
        """The ids of the denied items, in the order of the candidates."""
        return [item_id for item_id, _ in self._denied_items]

    @overload
    def __getitem__(self, index: int) -> Denial: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Denial]: ...
    def __getitem__(self, index: int | slice) -> Denial | Sequence[Denial]:
        """Return the denial at `index`, in the order of the candidates."""
        if isinstance(index, slice):
            return Denials(self._denied_items[index], self._wall_ms, self._now)
        item_id, denial = self._denied_items[index]
        return Denial.of(item_id, denial, self._wall_ms, self._now(denial))

    def __len__(self) -> int:
        return len(self._denied_items)

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
    """Result of `decide`: at most k picks, and the denials of other candidates.

    `starving` are the ids of eligible items that have waited for longer than the rules
    allow and got no place again.
    """

    decision_id: str
    picks: tuple[GrantedItem[ItemT], ...]
    denials: Sequence[Denial]
    starving: tuple[str, ...] = ()

    @property
    def next_allowed_at(self) -> datetime | None:
        """The first time at which a denied item may return; None if none does."""
        times = [denial.next_allowed_at for denial in self.denials]
        return min((time for time in times if time), default=None)


@dataclass(frozen=True, slots=True)
class Impression:
    """One recorded show.

    `late` means that its reservation had ended before; `repeated`, that it was recorded
    before. `overrun` lists the ids of rules that are above their limit after it.
    """

    reservation_id: str
    item_id: str | None
    evidence: str
    late: bool = False
    repeated: bool = False
    overrun: tuple[str, ...] = ()


def denied(denials: Sequence[Denial]) -> list[str]:
    """Return the item ids of `denials`, without building them if possible."""
    if isinstance(denials, Denials):
        return denials.item_ids
    return [denial.item_id for denial in denials]


def as_datetime(wall_ms: int) -> datetime:
    """Return unix milliseconds as an aware datetime in the years 1970 to 9999."""
    return EPOCH + timedelta(milliseconds=min(max(wall_ms, 0), LAST_DATETIME_MS))
