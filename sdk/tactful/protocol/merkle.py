"""A list that only grows, as one hash: proofs that an entry is in it, and that it only grew.

RFC 6962 section 2.1: leaves and nodes are hashed apart, an odd node is promoted, never doubled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256(b"").digest()


def leaf(content: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\x00" + content).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The head of a list of leaf hashes (section 2.1)."""
    level = list(leaves)
    if not level:
        return EMPTY
    while len(level) > 1:
        paired = [_node(*level[at : at + 2]) for at in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) - len(level) % 2 :]
    return level[0]


def inclusion(leaves: Sequence[bytes], place: int) -> list[bytes]:
    """The audit path of the leaf at `place`, nearest first (section 2.1.1)."""
    if len(leaves) <= 1:
        return []
    split = _split(len(leaves))
    if place < split:
        return [*inclusion(leaves[:split], place), root(leaves[split:])]
    return [*inclusion(leaves[split:], place - split), root(leaves[:split])]


def consistency(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """The proof that the first `size` leaves, 1 or more, are still the first (section 2.1.2)."""
    return _subproof(leaves, size, whole=True)


def _subproof(leaves: Sequence[bytes], size: int, *, whole: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if whole else [root(leaves)]
    split = _split(len(leaves))
    if size <= split:
        return [*_subproof(leaves[:split], size, whole=whole), root(leaves[split:])]
    return [*_subproof(leaves[split:], size - split, whole=False), root(leaves[:split])]


def includes(leaf_hash: bytes, place: int, size: int, path: Sequence[bytes], head: bytes) -> bool:
    """Whether `path` leads from the leaf at `place` to the head of `size` leaves (RFC 9162)."""
    if not 0 <= place < size:
        return False
    index, last, found = place, size - 1, leaf_hash
    for step in path:
        if last == 0:
            return False
        if index % 2 or index == last:
            found = _node(step, found)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            found = _node(found, step)
        index, last = index // 2, last // 2
    return last == 0 and found == head


def grew(old: bytes, old_size: int, head: bytes, size: int, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the list of `size` begins with that of `old_size` (RFC 9162)."""
    if old_size == 0:
        return True
    if old_size >= size:
        return old_size == size and old == head and not proof
    steps = list(proof)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old)
    if not steps:
        return False
    index, last = old_size - 1, size - 1
    while index % 2:
        index, last = index // 2, last // 2
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if index % 2 or index == last:
            before, after = _node(step, before), _node(step, after)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            after = _node(after, step)
        index, last = index // 2, last // 2
    return last == 0 and before == old and after == head


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
