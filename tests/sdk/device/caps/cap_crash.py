"""A process that shows things and is killed with SIGKILL as its n-th SQL statement begins."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tactful.device.caps import CapEngine, Rules
from tactful.device.catalog import Item
from tactful.device.clock import ManualClock
from tactful.device.device_key import HostKey
from tactful.device.vault import Vault

KEY, ITEM, HOUR, TTL = HostKey(b"k" * 32), Item(id="a", title="a"), 3_600_000, 120_000
ROUNDS = 3
BOTH = Rules.parse(
    {
        "schema": 1,
        "rules": [
            {"id": "ever", "key": ["item"], "window": {"kind": "lifetime"}, "limit": 99,
             "reason_code": "EVER"},
            {"id": "hour", "key": ["item"], "window": {"kind": "sliding", "ms": HOUR},
             "limit": 99, "reason_code": "HOUR"},
        ],
    }
)  # fmt: skip


def live(path: Path, seen: int, last_statement: int) -> None:
    """Reserve, show, confirm every second show; what was seen is told to the pipe `seen` first."""
    with Vault.open(path, KEY) as vault:
        engine = CapEngine(vault, ManualClock(), BOTH)
        statements = count(1)

        def perhaps_die(_: str) -> None:
            if next(statements) == last_statement:
                os.kill(os.getpid(), signal.SIGKILL)

        vault._lines.current().connection.set_trace_callback(perhaps_die)
        for number in range(ROUNDS):
            pick = engine.decide([ITEM], 1, "home").picks[0]
            os.write(seen, b"x")
            if number % 2:
                engine.confirm(pick.reservation_id)


def kill_at(path: Path, statement: int) -> tuple[int, bool]:
    """How many shows were seen before the kill, and whether the process was killed at all."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live(path, writing, statement)
        finally:
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return len(pipe.read()), os.WIFSIGNALED(status)


def used_later(path: Path, ms: int) -> list[float]:
    """What another process counts `ms` later: ever, and within the hour."""
    clock = ManualClock()
    clock.advance(ms)
    with Vault.open(path, KEY) as vault:
        engine = CapEngine(vault, clock, BOTH)
        engine.maintenance.expire()
        return [room.used for room in engine.explanations.headroom(ITEM, "home")]


def crimes(path: Path, statement: int) -> tuple[list[str], bool]:
    """What went wrong after a kill at `statement`; and whether the process lived to its end."""
    seen, killed = kill_at(path, statement)
    ever, _ = used_later(path, TTL)
    later, hour = used_later(path, TTL + HOUR)
    found = []
    if ever < seen:
        found.append(f"statement {statement}: {seen} seen, {ever} counted")
    if hour or later > seen + 1:
        found.append(f"statement {statement}: a reservation outlived its time")
    return found, not killed


def every_statement(folder: Path) -> Iterator[list[str]]:
    """The crimes of a kill at each statement in turn, until the process lives to its end."""
    for statement in count(1):
        found, done = crimes(folder / f"{statement}.db", statement)
        if done:
            return
        yield found
