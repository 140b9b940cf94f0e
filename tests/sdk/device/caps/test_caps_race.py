"""Eight processes, one cap of seven: exactly seven shows, whoever writes when."""

import multiprocessing
import os
import sqlite3
import threading
from multiprocessing.synchronize import Barrier
from pathlib import Path

from cap_crash import ITEM, KEY

from tactful.device.caps import CapEngine, Rules
from tactful.device.clock import ManualClock
from tactful.device.vault import Vault

SEVEN = Rules.parse(
    {
        "schema": 1,
        "rules": [
            {"id": "r", "key": ["item"], "window": {"kind": "lifetime"}, "limit": 7,
             "reason_code": "SEVEN"}
        ],
    }
)  # fmt: skip
PROCESSES, TRIES = 8, 15


def engine_at(path: Path) -> CapEngine:
    return CapEngine(Vault.open(path, KEY), ManualClock(), SEVEN)


def tries(engine: CapEngine) -> int:
    """How many of several tries are granted."""
    return sum(len(engine.decide([ITEM], 1, "home").picks) for _ in range(TRIES))


def race(path: Path, start: Barrier) -> int:
    engine = engine_at(path)
    start.wait()
    return tries(engine)


def runner(
    path: Path, start: Barrier, results: "multiprocessing.SimpleQueue[object]"
) -> None:
    try:
        results.put(race(path, start))
    except Exception as wrong:
        results.put(repr(wrong))


def test_eight_processes_share_seven_shows(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(PROCESSES), context.SimpleQueue()
    engine_at(tmp_path / "v.db")
    racers = [
        context.Process(target=runner, args=(tmp_path / "v.db", start, results))
        for _ in range(PROCESSES)
    ]
    for racer in racers:
        racer.start()
    found = [results.get() for _ in racers]
    for racer in racers:
        racer.join()

    assert sum(n for n in found if isinstance(n, int)) == 7, found
    assert all(isinstance(n, int) for n in found), found


def test_a_process_and_its_forked_children_share_seven_shows(tmp_path: Path):
    engine = engine_at(tmp_path / "v.db")
    granted = len(engine.decide([ITEM], 1, "home").picks)
    children = [forked(engine) for _ in range(3)]
    granted += tries(engine)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    assert all(0 <= code <= 7 for code in codes)
    assert granted + sum(codes) == 7


def forked(engine: CapEngine) -> int:
    """A child that tries with the engine it inherited; its exit status is what it was granted."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = tries(engine)
        finally:
            os._exit(code)
    return child


def test_two_engines_of_one_process_share_seven_shows(tmp_path: Path):
    one, other = engine_at(tmp_path / "v.db"), engine_at(tmp_path / "v.db")
    threads_granted: list[int] = []
    threads = [
        threading.Thread(target=lambda e=engine: threads_granted.append(tries(e)))
        for engine in (one, other, one, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(threads_granted) == 7


def test_while_another_connection_writes_everything_is_refused_in_time(tmp_path: Path):
    engine = engine_at(tmp_path / "v.db")
    engine.maintenance.expire()
    other = sqlite3.connect(tmp_path / "v.db", isolation_level=None)
    other.execute("begin immediate")

    busy = engine.decide([ITEM], 1, "home", seconds=0.05)
    other.execute("rollback")
    other.close()

    assert [d.reason_code for d in busy.denials] == ["STORE_BUSY"]
    assert len(engine.decide([ITEM], 1, "home").picks) == 1


def test_a_decision_waits_for_the_other_connection_and_is_made(tmp_path: Path):
    engine = engine_at(tmp_path / "v.db")
    engine.maintenance.expire()
    other = sqlite3.connect(
        tmp_path / "v.db", isolation_level=None, check_same_thread=False
    )
    other.execute("begin immediate")
    threading.Timer(0.2, lambda: other.execute("rollback")).start()

    assert len(engine.decide([ITEM], 1, "home", seconds=5).picks) == 1
    other.close()
