"""Merkle trees of append-only lists: proofs of inclusion and of consistency.

RFC 6962, section 2.1: leaves and nodes have different hash prefixes, and an odd node is
promoted, not doubled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()


def leaf(content: bytes) -> bytes:
    """Return the hash of an entry."""
    return hashlib.sha256(b"\x00" + content).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the head of a list of leaf hashes (section 2.1)."""
    return MerkleTree(leaves).root()


class MerkleTree:
    """A growing list of leaf hashes with its inner nodes, so that proofs take O(log n)."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        # _levels[h][i] is the hash of the 2**h leaves from i * 2**h on.
        self._levels: list[list[bytes]] = [[]]
        for leaf_hash in leaves:
            self.append(leaf_hash)

    def __len__(self) -> int:
        """Return the number of leaves."""
        return len(self._levels[0])

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf and every inner node that it completes."""
        node, height = leaf_hash, 0
        while True:
            if height == len(self._levels):
                self._levels.append([])
            level = self._levels[height]
            level.append(node)
            if len(level) % 2:
                return
            node, height = _node(level[-2], level[-1]), height + 1

    def root(self, size: int | None = None) -> bytes:
        """Return the head of the first `size` leaves, of all by default (section 2.1)."""
        end = len(self) if size is None else size
        return self._range(0, end) if end else EMPTY

    def inclusion(self, place: int) -> list[bytes]:
        """Return the audit path of the leaf at `place`, nearest first (section 2.1.1)."""
        return self._path(place, 0, len(self))

    def consistency(self, size: int) -> list[bytes]:
        """Return the proof that the first `size` leaves did not change (section 2.1.2).

        `size` is at least 1.
        """
        return self._subproof(size, 0, len(self), whole=True)

    def _path(self, place: int, start: int, end: int) -> list[bytes]:
        if end - start <= 1:
            return []
        middle = start + _split(end - start)
        if place < middle:
            return [*self._path(place, start, middle), self._range(middle, end)]
        return [*self._path(place, middle, end), self._range(start, middle)]

    def _subproof(self, size: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        if size == end:
            return [] if whole else [self._range(start, end)]
        middle = start + _split(end - start)
        if size <= middle:
            return [
                *self._subproof(size, start, middle, whole=whole),
                self._range(middle, end),
            ]
        return [
            *self._subproof(size, middle, end, whole=False),
            self._range(start, middle),
        ]

    def _range(self, start: int, end: int) -> bytes:
        """Return the hash of leaves `start` to `end`; complete subtrees are looked up."""
        size = end - start
        if size & (size - 1) == 0:
            height = size.bit_length() - 1
            return self._levels[height][start >> height]
        middle = start + _split(size)
        return _node(self._range(start, middle), self._range(middle, end))


def includes(
    leaf_hash: bytes, place: int, size: int, path: Sequence[bytes], head: bytes
) -> bool:
    """Return True if `path` leads from the leaf at `place` to the head (RFC 9162)."""
    if not 0 <= place < size:
        return False
    index, last, node = place, size - 1, leaf_hash
    for step in path:
        if last == 0:
            return False
        if index % 2 or index == last:
            node = _node(step, node)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = _node(node, step)
        index, last = index // 2, last // 2
    return last == 0 and node == head


def grew(
    old: bytes, old_size: int, head: bytes, size: int, proof: Sequence[bytes]
) -> bool:
    """Return True if the list of `size` begins with that of `old_size` (RFC 9162)."""
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
    """Return the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
