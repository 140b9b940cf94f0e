"""The device's own path under hostile vectors: noise off, coins frozen, every call noted."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.client.contribution import contribution
from tactful.protocol.documents.evidence import Neighbour, NeighbourReplay
from tactful.protocol.documents.task import Task

Floats = NDArray[np.float64]


def replayed(task: Task) -> NeighbourReplay:
    """What the device's code makes of hostile vectors, with the same coins each time."""
    encoding, length = task.encoding, task.length
    encoding.encode(
        np.zeros((1, length)), _frozen()
    )  # what is computed once is computed here
    found = []
    for name, vector in neighbours(task).items():
        coins = _frozen()
        try:
            measured, calls = _traced(partial(encoding.encode, vector[None, :], coins))
        except InvalidInput:
            found.append(
                Neighbour(name=name, refused=True, squares=0, distance2=0, calls=())
            )
            continue
        centred = measured.astype(np.int64) - task.levels // 2
        empty = encoding.encode(np.zeros((1, length)), _frozen())[0].astype(np.int64)
        gap = measured.astype(np.int64) - empty
        squares, distance2 = int(np.dot(centred, centred)), int(np.dot(gap, gap))
        found.append(
            Neighbour(
                name=name,
                refused=False,
                squares=squares,
                distance2=distance2,
                calls=calls,
            )
        )
    return NeighbourReplay(task=task.document.decode(), neighbours=tuple(found))


def neighbours(task: Task) -> dict[str, Floats]:
    """Vectors that a buggy path would let through, or take another way for."""
    length = task.length
    spike = np.zeros(task.encoding.padded, dtype=np.int64)
    spike[3] = 1000
    one_hot, dense = 5.0 * unit(length, 1), np.full(length, 1.0)
    tiny, signed_zero = np.full(length, 5e-324), np.full(length, -0.0)
    nan, infinite = dense.copy(), dense.copy()
    nan[0], infinite[-1] = np.nan, -np.inf
    return {
        "empty": np.zeros(length),
        "huge": np.full(length, 1e30),
        "one hot": one_hot,
        "dense": dense,
        "subnormal": tiny,
        "negative zero": signed_zero,
        "overflow": np.full(length, 1.7e308),
        "aimed": task.encoding.decode(spike, 0),
        "duplicate item": contribution("popularity", np.array([3, 3, 3]), length, None),
        "nan": nan,
        "infinite": infinite,
    }


def _frozen() -> Callable[[int], bytes]:
    stream = iter(lambda: 0, 1)

    def coins(count: int) -> bytes:
        return hashlib.shake_128(b"frozen" + bytes([next(stream)])).digest(count)

    return coins


def unit(length: int, place: int) -> Floats:
    """A vector of norm 1 with all of it in one place."""
    vector = np.zeros(length)
    vector[place] = 1.0
    return vector


def _traced(
    run: Callable[[], NDArray[np.uint8]],
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """What `run` returns, and each function of ours it went through, in order of the first call."""
    calls: dict[str, None] = {}

    def note(frame: object, event: str, _: object) -> None:
        code, names = getattr(frame, "f_code", None), getattr(frame, "f_globals", {})
        if event == "call" and str(names.get("__name__", "")).startswith("tactful."):
            calls[f"{names['__name__']}.{getattr(code, 'co_qualname', '')}"] = None

    sys.setprofile(note)
    try:
        measured = run()
    finally:
        sys.setprofile(None)
    return measured[0], tuple(calls)
