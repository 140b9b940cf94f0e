"""Replay of the encoding with hostile vectors, fixed coins and traced calls."""

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


def replay_encoding(task: Task) -> NeighbourReplay:
    """Encode hostile vectors with the code of the device and the same coins.

    For each vector: if it was refused, its squared norm, its squared distance from the
    empty vector, and the functions called.
    """
    # The first call fills caches, so its trace would differ from the others.
    _encode_empty(task)
    replays = [
        _replay(task, name, vector) for name, vector in hostile_vectors(task).items()
    ]
    return NeighbourReplay(task=task.document.decode(), neighbours=tuple(replays))


def _replay(task: Task, name: str, vector: Floats) -> Neighbour:
    encode = partial(task.encoding.encode, vector[None, :], _fixed_coins)
    try:
        encoded, calls = _traced(encode)
    except InvalidInput:
        return Neighbour(name=name, refused=True, squares=0, distance2=0, calls=())
    measurement = encoded.astype(np.int64)
    centred = measurement - task.levels // 2
    difference = measurement - _encode_empty(task)
    return Neighbour(
        name=name,
        refused=False,
        squares=int(np.dot(centred, centred)),
        distance2=int(np.dot(difference, difference)),
        calls=calls,
    )


def _encode_empty(task: Task) -> NDArray[np.int64]:
    """Return the measurement of a person without items, with the same coins."""
    encoded = task.encoding.encode(np.zeros((1, task.length)), _fixed_coins)
    measurement: NDArray[np.int64] = encoded[0].astype(np.int64)
    return measurement


def hostile_vectors(task: Task) -> dict[str, Floats]:
    """Return vectors that faulty code would accept, or would encode on another path."""
    length = task.length
    # A vector whose rotation has a single large entry.
    spike = np.zeros(task.encoding.padded, dtype=np.int64)
    spike[3] = 1000
    dense = np.full(length, 1.0)
    nan, infinite = dense.copy(), dense.copy()
    nan[0], infinite[-1] = np.nan, -np.inf
    return {
        "empty": np.zeros(length),
        "huge": np.full(length, 1e30),
        "one hot": 5.0 * unit_vector(length, 1),
        "dense": dense,
        "subnormal": np.full(length, 5e-324),
        "negative zero": np.full(length, -0.0),
        "overflow": np.full(length, 1.7e308),
        "aimed": task.encoding.decode(spike, 0),
        "duplicate item": contribution("popularity", np.array([3, 3, 3]), length, None),
        "nan": nan,
        "infinite": infinite,
    }


def _fixed_coins(count: int) -> bytes:
    """Return the same bytes at each call, instead of random coins."""
    return hashlib.shake_128(b"frozen\x00").digest(count)


def unit_vector(length: int, place: int) -> Floats:
    """Return a vector that is 1 at `place` and 0 elsewhere."""
    vector = np.zeros(length)
    vector[place] = 1.0
    return vector


def _traced(
    run: Callable[[], NDArray[np.uint8]],
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the first row of the result of `run`, and the functions that it called.

    Only functions of the SDK are named, in the order of their first call.
    """
    # A dict, because it preserves the order of insertion and has no duplicates.
    calls: dict[str, None] = {}

    def record_call(frame: object, event: str, _: object) -> None:
        code, names = getattr(frame, "f_code", None), getattr(frame, "f_globals", {})
        module = str(names.get("__name__", ""))
        if event == "call" and module.startswith("tactful."):
            calls[f"{module}.{getattr(code, 'co_qualname', '')}"] = None

    sys.setprofile(record_call)
    try:
        encoded = run()
    finally:
        sys.setprofile(None)
    return encoded[0], tuple(calls)
