"""PINE's two circuits: one that bounds squares, one that bounds everything else (ROCT23, 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tactful.errors import InvalidInput
from tactful.vdaf.circuit import Gadget, Validity, chunked
from tactful.vdaf.field import Elements, Field
from tactful.vdaf.field64 import FIELD64

ALPHA, CHECKS = 8.7, 100  # every check must pass; an honest one fails once in 2^50


@dataclass(frozen=True)
class Layout:
    """Where the parts of an encoded vector stand, from its dimension and its bound on the norm."""

    dimension: int
    norm_bound: int
    checks: int = CHECKS
    successes: int = CHECKS

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= 1 << 24:
            raise InvalidInput(
                "dimension", f"{self.dimension} is out of range", "use fewer"
            )
        roomy = 3 * self.norm_bound**2 + 2 < FIELD64.modulus
        widest = 2600 * self.wrap_bound < FIELD64.modulus
        if not (self.norm_bound >= 1 and roomy and widest):
            raise InvalidInput(
                "norm_bound", f"{self.norm_bound} is out of range", "use a smaller"
            )

    @cached_property
    def wrap_bound(self) -> int:
        """A sum of entries with random signs lies in (-bound, bound]; a power of two."""
        return 1 << math.ceil(ALPHA * self.norm_bound).bit_length()

    @cached_property
    def norm_bits(self) -> int:
        """Bits of a squared norm."""
        return (self.norm_bound**2).bit_length()

    @cached_property
    def wrap_bits(self) -> int:
        """Bits of one sum."""
        return (2 * self.wrap_bound - 1).bit_length()

    @property
    def first(self) -> int:
        """Elements of the vector and its norm: what the random signs depend on."""
        return self.dimension + 2 * self.norm_bits

    @property
    def bits(self) -> int:
        """How many elements must be 0 or 1."""
        return 2 * self.norm_bits + self.checks * (self.wrap_bits + 1)

    @property
    def sent(self) -> int:
        """Elements of a measurement share; the sums follow, which everyone computes."""
        return self.dimension + self.bits

    def norms(self, field: Field, encoded: Elements) -> tuple[Elements, Elements]:
        """The squared norm as claimed, and what is left to the bound, each (..., 1)."""
        first = encoded[..., self.dimension : self.first]
        return self._number(field, first[..., : self.norm_bits]), self._number(
            field, first[..., self.norm_bits :]
        )

    def wraps(
        self, field: Field, encoded: Elements
    ) -> tuple[Elements, Elements, Elements]:
        """(sums as claimed, whether each is claimed, sums as computed), each (..., checks)."""
        *outer, _ = field.shape(encoded)
        claimed = field.reshape(
            encoded[..., self.first : self.sent],
            *outer,
            self.checks,
            self.wrap_bits + 1,
        )
        numbers = self._number(field, claimed[..., :-1])[..., 0]
        return numbers, claimed[..., -1], encoded[..., self.sent :]

    def _number(self, field: Field, bits: Elements) -> Elements:
        weights = field.constants(
            [1 << place for place in range(field.shape(bits)[-1])]
        )
        return field.total(field.multiply(bits, weights))[..., None]


class NormEquality(Validity):
    """That the squared norm is what is claimed."""

    joint_length = 0

    def __init__(self, layout: Layout, chunk: int) -> None:
        self.field, self.layout, self.gadget = FIELD64, layout, Gadget(chunk, sides=1)
        self.length = layout.sent + layout.checks
        self.calls = -(-layout.dimension // chunk)

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """The entries, to be squared."""
        entries = encoded[..., : self.layout.dimension]
        return chunked(self.field, entries, self.calls, self.gadget.chunk)[..., None, :]

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """The claim less the sum of squares."""
        claimed, _ = self.layout.norms(self.field, encoded)
        return self.field.subtract(claimed, self.field.total(results)[..., None])


class Checks(NormEquality):
    """That bits are bits, the norm is in range, and each claimed sum is the computed one."""

    joint_length = 3

    def __init__(self, layout: Layout, chunk: int) -> None:
        super().__init__(layout, chunk)
        self.gadget = Gadget(chunk)
        self.bit_calls = -(-layout.bits // chunk)
        self.calls = self.bit_calls + -(-layout.checks // chunk)

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """r^j b_j and b_j - 1/shares; then s^i times the difference of sums, and its claim."""
        return np.concatenate(
            [
                self._pairs(
                    *self._bits(encoded, joint[..., 0], shares), self.bit_calls
                ),
                self._pairs(
                    *self._sums(encoded, joint[..., 1], shares),
                    self.calls - self.bit_calls,
                ),
            ],
            axis=-3,
        )

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """All checks, combined by the powers of the last random element."""
        field, layout = self.field, self.layout
        claimed, left = layout.norms(field, encoded)
        whole = field.constant(layout.norm_bound**2 * field.inverse(shares))
        successes = field.total(layout.wraps(field, encoded)[1])[..., None]
        due = field.constant(layout.successes * field.inverse(shares))
        checks = [
            field.subtract(field.add(claimed, left), whole),
            field.total(results[..., self.bit_calls :])[..., None],
            field.subtract(successes, due),
        ]
        total = field.total(results[..., : self.bit_calls])[..., None]
        factors = field.powers(joint[..., 2], len(checks))
        for place, check in enumerate(checks):
            total = field.add(
                total, field.multiply(factors[..., place : place + 1], check)
            )
        return total

    def _bits(
        self, encoded: Elements, base: Elements, shares: int
    ) -> tuple[Elements, Elements]:
        field, layout = self.field, self.layout
        bits = encoded[..., layout.dimension : layout.sent]
        one = field.constant(field.inverse(shares))
        return field.multiply(self._powers(base, layout.bits), bits), field.subtract(
            bits, one
        )

    def _sums(
        self, encoded: Elements, base: Elements, shares: int
    ) -> tuple[Elements, Elements]:
        field, layout = self.field, self.layout
        claimed, stated, computed = layout.wraps(field, encoded)
        offset = field.constant((layout.wrap_bound - 1) * field.inverse(shares))
        wrong = field.subtract(field.add(computed, offset), claimed)
        return field.multiply(self._powers(base, layout.checks), wrong), stated

    def _powers(self, base: Elements, count: int) -> Elements:
        """1, r, r^2, ..."""
        table = self.field.constant(1, *self.field.shape(base), count)
        table[..., 1:] = self.field.powers(base, count - 1)
        return table

    def _pairs(self, left: Elements, right: Elements, calls: int) -> Elements:
        chunk = self.gadget.chunk
        sides = [chunked(self.field, side, calls, chunk) for side in (left, right)]
        shape = (*self.field.shape(sides[0])[:-1], 2, chunk)
        both = self.field.zeros(*shape)
        both[..., 0, :], both[..., 1, :] = sides
        return both
