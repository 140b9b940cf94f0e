"""The two circuits of PINE: one for squares, and one for all other checks (ROCT23, 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tactful.errors import InvalidInput
from tactful.vdaf.circuit import Gadget, Validity, chunked
from tactful.vdaf.field import Elements, Field
from tactful.vdaf.field64 import FIELD64

# Every check must pass; an honest measurement fails with probability 2^-50.
ALPHA, CHECKS = 8.7, 100


@dataclass(frozen=True)
class Layout:
    """The places of the parts of an encoded vector."""

    dimension: int
    norm_bound: int
    checks: int = CHECKS
    successes: int = CHECKS

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        if not 1 <= self.dimension <= 1 << 24:
            raise InvalidInput(
                "dimension", f"{self.dimension} is out of range", "use a smaller one"
            )
        squares_fit = 3 * self.norm_bound**2 + 2 < FIELD64.modulus
        sums_fit = 2600 * self.wrap_bound < FIELD64.modulus
        if not (self.norm_bound >= 1 and squares_fit and sums_fit):
            raise InvalidInput(
                "norm_bound", f"{self.norm_bound} is out of range", "use a smaller one"
            )

    @cached_property
    def wrap_bound(self) -> int:
        """The bound of a sum of entries with random signs, a power of two.

        Sums lie in (-bound, bound].
        """
        return 1 << math.ceil(ALPHA * self.norm_bound).bit_length()

    @cached_property
    def norm_bits(self) -> int:
        """The bits of a squared norm."""
        return (self.norm_bound**2).bit_length()

    @cached_property
    def wrap_bits(self) -> int:
        """The bits of one sum."""
        return (2 * self.wrap_bound - 1).bit_length()

    @property
    def first(self) -> int:
        """The elements of the vector and its norm, which the random signs depend on."""
        return self.dimension + 2 * self.norm_bits

    @property
    def bits(self) -> int:
        """The number of elements that must be 0 or 1."""
        return 2 * self.norm_bits + self.checks * (self.wrap_bits + 1)

    @property
    def sent(self) -> int:
        """The elements of a measurement share; all parties compute the sums after them."""
        return self.dimension + self.bits

    def norms(self, field: Field, encoded: Elements) -> tuple[Elements, Elements]:
        """Return the claimed squared norm, and the rest to the bound, each (..., 1)."""
        bits = encoded[..., self.dimension : self.first]
        norm = self._number(field, bits[..., : self.norm_bits])
        return norm, self._number(field, bits[..., self.norm_bits :])

    def wraps(
        self, field: Field, encoded: Elements
    ) -> tuple[Elements, Elements, Elements]:
        """Return claimed sums, if each is claimed, and computed sums, each (..., checks)."""
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
    """The circuit that the squared norm is the claimed one."""

    joint_length = 0

    def __init__(self, layout: Layout, chunk: int) -> None:
        self.field, self.layout, self.gadget = FIELD64, layout, Gadget(chunk, sides=1)
        self.length = layout.sent + layout.checks
        self.calls = -(-layout.dimension // chunk)

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """Return the entries, which are squared."""
        entries = encoded[..., : self.layout.dimension]
        return chunked(self.field, entries, self.calls, self.gadget.chunk)[..., None, :]

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """Return the claim minus the sum of squares."""
        claimed, _ = self.layout.norms(self.field, encoded)
        return self.field.subtract(claimed, self.field.total(results)[..., None])


class Checks(NormEquality):
    """The circuit that bits are bits, the norm is in range, and claimed sums are right."""

    joint_length = 3

    def __init__(self, layout: Layout, chunk: int) -> None:
        super().__init__(layout, chunk)
        self.gadget = Gadget(chunk)
        self.bit_calls = -(-layout.bits // chunk)
        self.calls = self.bit_calls + -(-layout.checks // chunk)

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """Return the inputs of all checks.

        These are r^j b_j and b_j - 1/shares, then s^i times the difference of sums, and
        the claim.
        """
        bits = self._bits(encoded, joint[..., 0], shares)
        sums = self._sums(encoded, joint[..., 1], shares)
        bit_pairs = self._pairs(*bits, self.bit_calls)
        sum_pairs = self._pairs(*sums, self.calls - self.bit_calls)
        return np.concatenate([bit_pairs, sum_pairs], axis=-3)

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """Return all checks, combined by the powers of the last random element."""
        field, layout = self.field, self.layout
        norm, rest = layout.norms(field, encoded)
        bound = field.constant(layout.norm_bound**2 * field.inverse(shares))
        _, claims, _ = layout.wraps(field, encoded)
        claim_count = field.total(claims)[..., None]
        needed = field.constant(layout.successes * field.inverse(shares))
        checks = [
            field.subtract(field.add(norm, rest), bound),
            field.total(results[..., self.bit_calls :])[..., None],
            field.subtract(claim_count, needed),
        ]
        total = field.total(results[..., : self.bit_calls])[..., None]
        factors = field.powers(joint[..., 2], len(checks))
        for place, check in enumerate(checks):
            factor = factors[..., place : place + 1]
            total = field.add(total, field.multiply(factor, check))
        return total

    def _bits(
        self, encoded: Elements, base: Elements, shares: int
    ) -> tuple[Elements, Elements]:
        field, layout = self.field, self.layout
        bits = encoded[..., layout.dimension : layout.sent]
        share_of_one = field.constant(field.inverse(shares))
        scaled = field.multiply(self._powers(base, layout.bits), bits)
        return scaled, field.subtract(bits, share_of_one)

    def _sums(
        self, encoded: Elements, base: Elements, shares: int
    ) -> tuple[Elements, Elements]:
        field, layout = self.field, self.layout
        claimed_sums, is_claimed, sums = layout.wraps(field, encoded)
        offset = field.constant((layout.wrap_bound - 1) * field.inverse(shares))
        differences = field.subtract(field.add(sums, offset), claimed_sums)
        powers = self._powers(base, layout.checks)
        return field.multiply(powers, differences), is_claimed

    def _powers(self, base: Elements, count: int) -> Elements:
        """Return 1, r, r^2, ..."""
        table = self.field.constant(1, *self.field.shape(base), count)
        table[..., 1:] = self.field.powers(base, count - 1)
        return table

    def _pairs(self, left: Elements, right: Elements, calls: int) -> Elements:
        chunk = self.gadget.chunk
        sides = [chunked(self.field, side, calls, chunk) for side in (left, right)]
        shape = (*self.field.shape(sides[0])[:-1], 2, chunk)
        pairs = self.field.zeros(*shape)
        pairs[..., 0, :], pairs[..., 1, :] = sides
        return pairs
