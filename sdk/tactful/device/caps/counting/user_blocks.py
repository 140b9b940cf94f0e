"""What the person said about being shown things: dismissals, hides, reports, conversions."""

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
    """A stretch without shows, from a moment on: `length_ms` None lasts until undone."""

    segment: int
    offset: int
    length_ms: int | None
    reason_code: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """Dismissals in a row without a click, and the cool-down after the last one."""

    times: int
    block: Block


def cool_down_ms(times: int) -> int:
    """The pause after the `times`th dismissal in a row: 48 h, then double, at most 90 days."""
    return min(FIRST_COOL_DOWN_MS << min(times - 1, 30), LONGEST_COOL_DOWN_MS)


class UserBlocks:
    """Blocks by what they concern; only the fold of the vault changes it."""

    def __init__(self) -> None:
        self.mutes: dict[Key, Block] = {}  # (subject, scope, value)
        self.ladders: dict[Key, Ladder] = {}  # (subject, item)
        self.final: dict[Key, Block] = {}  # (subject, item): reported or converted

    def take(
        self,
        kind: str,
        thing: CapSubject,
        subject: str,
        place: tuple[int, int],
        scope: str,
        surface: str,
    ) -> None:
        """Count one reaction to `thing` at `place` (segment, offset)."""
        item = (subject, thing.item)
        if kind == "dismiss":
            self._dismiss(item, place)
        elif kind == "click":
            self._reset(item)
        elif kind == "report":
            self.final[item] = Block(*place, None, "REPORTED")
        elif kind == "convert" and not thing.replenishable:
            self.final.setdefault(item, Block(*place, None, "CONVERTED"))
        elif kind == "hide":
            for value in thing.values(scope, surface):
                self.mute(
                    (subject, scope, value), Block(*place, MUTE_MS, "NOT_INTERESTED")
                )

    def add(self, unstored: UserBlocks) -> None:
        """Let blocks hold that are not in the vault yet; adding them again changes nothing."""
        self.mutes |= unstored.mutes
        self.ladders |= unstored.ladders
        self.final |= unstored.final

    def mute(self, what: Key, block: Block) -> None:
        """Show nothing of `what` (subject, scope, value) for the time of `block`."""
        self.mutes[what] = block

    def muted(self, subject: str) -> list[tuple[str, str]]:
        """Every (scope, value) that `subject` hid or muted and did not take back."""
        return [(scope, value) for who, scope, value in self.mutes if who == subject]

    def unmute(self, what: Key) -> None:
        """Take a mute back."""
        self.mutes.pop(what, None)

    def lasting(self) -> list[list[object]]:
        """Mutes and reports as rows of records that mute anew; reported is muted for good."""
        reported: dict[Key, Block] = {
            (who, "item", item): block
            for (who, item), block in self.final.items()
            if block.reason_code == "REPORTED"
        }
        return [
            [*what, True, block.segment, block.offset, block.length_ms]
            for what, block in {**self.mutes, **reported}.items()
        ]

    def _dismiss(self, item: Key, place: tuple[int, int]) -> None:
        ladder = self.ladders.get(item)
        times = ladder.times + 1 if ladder else 1
        block = Block(*place, cool_down_ms(times), "DISMISSED")
        self.ladders[item] = Ladder(times, block)

    def _reset(self, item: Key) -> None:
        ladder = self.ladders.get(item)
        if ladder is not None:
            self.ladders[item] = replace(ladder, times=0)

    def blocks(self, thing: CapSubject, surface: str, subject: str) -> Iterator[Block]:
        """Every block that concerns `thing` on `surface`, whether or not it is over."""
        item = (subject, thing.item)
        if item in self.final:
            yield self.final[item]
        if item in self.ladders:
            yield self.ladders[item].block
        if not self.mutes:
            return
        for scope in SCOPES:
            for value in thing.values(scope, surface):
                if (subject, scope, value) in self.mutes:
                    yield self.mutes[subject, scope, value]

    def clear(self) -> None:
        """Forget every block."""
        self.mutes, self.ladders, self.final = {}, {}, {}

    @property
    def silent(self) -> bool:
        """Whether nothing was ever blocked, so that nothing need be looked up."""
        return not (self.mutes or self.ladders or self.final)


At = Callable[[int, int], int]  # (segment, offset) to canonical time


def wait_ms(block: Block, now_ms: int, at: At) -> int | None:
    """How long `block` still lasts: 0 if it is over, None if it never ends by itself."""
    if block.length_ms is None:
        return None
    return max(0, at(block.segment, block.offset) + block.length_ms - now_ms)
