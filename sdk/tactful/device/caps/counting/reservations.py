"""Held rights to show: who holds them, until when, and what became of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from tactful.device.caps.rules.subject import CapSubject

Outcome = Literal["dropped", "presumed", "released"]
# What vaults hold instead of the words. Append only, as the codes of events are.
OUTCOME_CODES: Mapping[Outcome, int] = {"dropped": 0, "presumed": 1, "released": 2}
OUTCOMES: Mapping[int, Outcome] = {code: word for word, code in OUTCOME_CODES.items()}
HoldId = tuple[int, int]  # position of the decision in the vault, slot


@dataclass(frozen=True, slots=True)
class Owner:
    """One process, told apart from a later one with the same number."""

    boot_id: str | None
    pid: int
    started: int


class Processes(Protocol):
    """Who runs on this device."""

    def me(self, boot_id: str | None) -> Owner:
        """The calling process."""

    def alive(self, owner: Owner, boot_id: str | None) -> bool:
        """Whether `owner` still runs; False if that cannot be told."""


class SystemProcesses:
    """The processes of this device, as Linux and Android list them."""

    def me(self, boot_id: str | None) -> Owner:
        """The calling process; its number is asked anew each time, because a fork changes it."""
        pid = os.getpid()
        return Owner(boot_id, pid, _mine(pid) or 0)

    def alive(self, owner: Owner, boot_id: str | None) -> bool:
        """Whether the same process still runs in the same boot."""
        if owner.pid == os.getpid():
            return owner == self.me(boot_id)
        started = _started(owner.pid)
        return (
            owner.boot_id == boot_id
            and started is not None
            and started == owner.started
        )


class Stamp(NamedTuple):
    """When something was: its moment, and the local dates it was recorded under."""

    segment: int
    offset: int
    day: int  # local date on the full timeline
    verified_day: int
    zone: str | None


class Hold:
    """One show from its reservation on; only the fold of the vault changes it."""

    __slots__ = (
        "acted",
        "attached",
        "closed",
        "evidence",
        "id",
        "late",
        "level",
        "owner",
        "released",
        "seen",
        "stamp",
        "subject",
        "surface",
        "thing",
        "ttl_ms",
    )

    def __init__(
        self,
        hold_id: HoldId,
        thing: CapSubject,
        *,
        surface: str,
        subject: str,
        owner: Owner,
        ttl_ms: int,
        stamp: Stamp,
    ) -> None:
        self.id, self.thing, self.surface, self.subject = (
            hold_id,
            thing,
            surface,
            subject,
        )
        self.owner, self.ttl_ms, self.stamp = owner, ttl_ms, stamp
        self.level = 0  # 0 not seen, 1 rendered, 2 viewable, 3 attended, 4 presumed
        self.evidence = 0  # the same, but only what the app told
        self.released = self.closed = self.acted = self.late = False
        self.seen: Stamp | None = None  # when it was last told or presumed to be seen
        self.attached = (
            False  # it stands among the holds of every rule that it concerns
        )

    @property
    def name(self) -> str:
        """The reservation id as the app sees it."""
        return f"{self.id[0]}.{self.id[1]}"


def hold_id(name: str) -> HoldId | None:
    """The hold that a reservation id names, None if it is no such id."""
    position, dot, slot = name.partition(".")
    if dot and position.isdecimal() and slot.isdecimal() and len(name) < 40:
        return int(position), int(slot)
    return None


@cache
def _mine(pid: int) -> int | None:
    """When the calling process started; a fork forgets it."""
    return _started(pid)


os.register_at_fork(after_in_child=_mine.cache_clear)


def _started(pid: int) -> int | None:
    """Start time in ticks since boot (proc(5), field 22), None if there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        return int(status.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
