"""Reservations: which process holds one, until when, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from tactful.device.caps.rules.subject import CapSubject

Outcome = Literal["dropped", "presumed", "released"]
# Vaults store these codes, so that only new ones may be added.
OUTCOME_CODES: Mapping[Outcome, int] = {"dropped": 0, "presumed": 1, "released": 2}
OUTCOMES: Mapping[int, Outcome] = {code: word for word, code in OUTCOME_CODES.items()}
HoldId = tuple[int, int]  # position of the decision in the vault, slot


@dataclass(frozen=True, slots=True)
class Owner:
    """One process; `started` distinguishes it from a later one with the same `pid`."""

    boot_id: str | None
    pid: int
    started: int


class Processes(Protocol):
    """The processes that run on this device."""

    def me(self, boot_id: str | None) -> Owner:
        """Return the calling process."""

    def alive(self, owner: Owner, boot_id: str | None) -> bool:
        """Return True if `owner` still runs; False if that is unknown."""


class SystemProcesses:
    """The processes of this device, as Linux and Android list them."""

    def me(self, boot_id: str | None) -> Owner:
        """Return the calling process; the pid is read each time: a fork changes it."""
        pid = os.getpid()
        return Owner(boot_id, pid, _own_start_ticks(pid) or 0)

    def alive(self, owner: Owner, boot_id: str | None) -> bool:
        """Return True if the same process still runs in the same boot."""
        if owner.pid == os.getpid():
            return owner == self.me(boot_id)
        started = _start_ticks(owner.pid)
        if owner.boot_id != boot_id or started is None:
            return False
        return started == owner.started


class Stamp(NamedTuple):
    """The time of one event: its moment, and the local dates recorded with it."""

    segment: int
    offset: int
    day: int  # local date on the full timeline
    verified_day: int
    zone: str | None


class Hold:
    """One reservation and the impression made of it; only vault records change it."""

    __slots__ = (
        "cap_subject",
        "closed",
        "evidence",
        "id",
        "indexed",
        "late",
        "level",
        "owner",
        "reacted",
        "released",
        "shown_at",
        "stamp",
        "subject",
        "surface",
        "ttl_ms",
    )

    def __init__(
        self,
        hold_id: HoldId,
        cap_subject: CapSubject,
        *,
        surface: str,
        subject: str,
        owner: Owner,
        ttl_ms: int,
        stamp: Stamp,
    ) -> None:
        self.id = hold_id
        self.cap_subject = cap_subject
        self.surface = surface
        self.subject = subject  # the profile of the person
        self.owner = owner
        self.ttl_ms = ttl_ms
        self.stamp = stamp
        self.level = 0  # 0 not seen, 1 rendered, 2 viewable, 3 attended, 4 presumed
        self.evidence = 0  # the highest level that the app reported
        self.released = self.closed = self.reacted = self.late = False
        # The last time at which it was reported or presumed to be seen.
        self.shown_at: Stamp | None = None
        self.indexed = False  # it is listed in `RuleGroup.holds` of each matching rule

    @property
    def reservation_id(self) -> str:
        """The reservation id as the app sees it."""
        return f"{self.id[0]}.{self.id[1]}"


def hold_id(reservation_id: str) -> HoldId | None:
    """Return the hold id that `reservation_id` names, None if it is not valid."""
    position, dot, slot = reservation_id.partition(".")
    is_pair = dot and position.isdecimal() and slot.isdecimal()
    if is_pair and len(reservation_id) < 40:
        return int(position), int(slot)
    return None


@cache
def _own_start_ticks(pid: int) -> int | None:
    """Return the start time of the calling process; a fork clears the cache."""
    return _start_ticks(pid)


os.register_at_fork(after_in_child=_own_start_ticks.cache_clear)


def _start_ticks(pid: int) -> int | None:
    """Return the start time of `pid` in ticks since boot, None if it does not run.

    It is field 22 in proc(5). The second field, a name, may contain spaces and
    brackets.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        fields_after_name = status.rpartition(")")[2].split()
        return int(fields_after_name[19])
    except (OSError, ValueError, IndexError):
        return None
