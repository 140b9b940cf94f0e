"""Blocks that the person caused: dismissals, hides, reports and conversions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tactful.device.caps.rules.subject import CapSubject, Key

MS_PER_HOUR = 3_600_000
MS_PER_DAY = 86_400_000
FIRST_COOL_DOWN_MS = 48 * MS_PER_HOUR
LONGEST_COOL_DOWN_MS = 90 * MS_PER_DAY
MUTE_MS = 90 * MS_PER_DAY
SCOPES = ("item", "family", "campaign", "category", "brand", "surface")


@dataclass(frozen=True, slots=True)
class Block:
    """A period without impressions that starts at one moment.

    `length_ms` None means that it lasts until the person undoes it.
    """

    segment: int
    offset: int
    length_ms: int | None
    reason_code: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """Dismissals in a row without a click, and the cool-down after the last one."""

    dismissals: int
    block: Block


def cool_down_ms(dismissals: int) -> int:
    """Return the pause after the last of `dismissals` in a row.

    It is 48 hours after the first and doubles with each one, up to 90 days.
    """
    # The shift is bounded, so that a long row does not make a huge number first.
    doublings = min(dismissals - 1, 30)
    return min(FIRST_COOL_DOWN_MS << doublings, LONGEST_COOL_DOWN_MS)


class UserBlocks:
    """All blocks, by what they apply to; only vault records change them."""

    def __init__(self) -> None:
        self.mutes: dict[Key, Block] = {}  # (subject, scope, value)
        self.ladders: dict[Key, Ladder] = {}  # (subject, item)
        self.final: dict[Key, Block] = {}  # (subject, item): reported or converted

    def add_reaction(
        self,
        kind: str,
        cap_subject: CapSubject,
        subject: str,
        place: tuple[int, int],
        scope: str,
        surface: str,
    ) -> None:
        """Add the block that a reaction to `cap_subject` causes, if any.

        `subject` is the profile that reacted; `place` is a segment and an offset.
        """
        item_key = (subject, cap_subject.item)
        if kind == "dismiss":
            self._dismiss(item_key, place)
        elif kind == "click":
            self._reset_dismissals(item_key)
        elif kind == "report":
            self.final[item_key] = Block(*place, None, "REPORTED")
        elif kind == "convert" and not cap_subject.replenishable:
            self.final.setdefault(item_key, Block(*place, None, "CONVERTED"))
        elif kind == "hide":
            block = Block(*place, MUTE_MS, "NOT_INTERESTED")
            for value in cap_subject.values(scope, surface):
                self.mute((subject, scope, value), block)

    def merge(self, unstored: UserBlocks) -> None:
        """Add blocks that are not in the vault yet; merging twice changes nothing."""
        self.mutes |= unstored.mutes
        self.ladders |= unstored.ladders
        self.final |= unstored.final

    def mute(self, mute_key: Key, block: Block) -> None:
        """Show nothing of `mute_key` (subject, scope, value) while `block` lasts."""
        self.mutes[mute_key] = block

    def muted(self, subject: str) -> list[tuple[str, str]]:
        """Return every (scope, value) that `subject` hid or muted and did not undo."""
        return [
            (scope, value)
            for muted_by, scope, value in self.mutes
            if muted_by == subject
        ]

    def unmute(self, mute_key: Key) -> None:
        """Undo a mute."""
        self.mutes.pop(mute_key, None)

    def to_mute_rows(self) -> list[list[object]]:
        """Return mutes and reports as fields of `mute` records that restore them.

        A reported item is muted without an end.
        """
        reported: dict[Key, Block] = {
            (subject, "item", item): block
            for (subject, item), block in self.final.items()
            if block.reason_code == "REPORTED"
        }
        blocks = {**self.mutes, **reported}
        return [
            [*mute_key, True, block.segment, block.offset, block.length_ms]
            for mute_key, block in blocks.items()
        ]

    def _dismiss(self, item_key: Key, place: tuple[int, int]) -> None:
        ladder = self.ladders.get(item_key)
        dismissals = ladder.dismissals + 1 if ladder else 1
        block = Block(*place, cool_down_ms(dismissals), "DISMISSED")
        self.ladders[item_key] = Ladder(dismissals, block)

    def _reset_dismissals(self, item_key: Key) -> None:
        ladder = self.ladders.get(item_key)
        if ladder is not None:
            self.ladders[item_key] = replace(ladder, dismissals=0)

    def blocks(
        self, cap_subject: CapSubject, surface: str, subject: str
    ) -> Iterator[Block]:
        """Yield every block of `cap_subject` on `surface`, even if it has ended."""
        item_key = (subject, cap_subject.item)
        if item_key in self.final:
            yield self.final[item_key]
        if item_key in self.ladders:
            yield self.ladders[item_key].block
        if not self.mutes:
            return
        for scope in SCOPES:
            for value in cap_subject.values(scope, surface):
                if (subject, scope, value) in self.mutes:
                    yield self.mutes[subject, scope, value]

    def clear(self) -> None:
        """Remove every block."""
        self.mutes, self.ladders, self.final = {}, {}, {}

    @property
    def is_empty(self) -> bool:
        """True if nothing was ever blocked, so that no look-up is needed."""
        return not (self.mutes or self.ladders or self.final)


CanonicalTime = Callable[[int, int], int]  # (segment, offset) to canonical time


def wait_ms(block: Block, now_ms: int, canonical_time: CanonicalTime) -> int | None:
    """Return the milliseconds until `block` ends: 0 if it has ended, None if never."""
    if block.length_ms is None:
        return None
    end_ms = canonical_time(block.segment, block.offset) + block.length_ms
    return max(0, end_ms - now_ms)
