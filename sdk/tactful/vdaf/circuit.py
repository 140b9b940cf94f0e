"""What a measurement must satisfy, as arithmetic: the circuits of Count, Sum, SumVec, Histogram.

Every circuit calls one gadget, a sum of products of two factors, and checks an affine function of
the gadget's outputs (draft-irtf-cfrg-vdaf, sections 7.3 and 7.4). Arrays may have any leading axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.vdaf.field import Elements, Field
from tactful.vdaf.vdaf import Measurement

MOST_CHUNK = 1 << 16  # far above the best chunk of the longest vector


@dataclass(frozen=True)
class Gadget:
    """sum_j x_j (y_j + shift), over `chunk` pairs; with one side, y is x.

    (2, 0) is ParallelSum of Mul, (1, -1) with chunk 1 is the range check x^2 - x, and (1, 0) a sum
    of squares. Inputs have the axes (side, place); on the wire they stand place by place.
    """

    chunk: int
    sides: int = 2
    shift: int = 0

    @property
    def arity(self) -> int:
        """How many wires lead into it."""
        return self.sides * self.chunk

    def written(self, field: Field, inputs: Elements) -> Elements:
        """Inputs (..., sides, chunk) in the order of the wires, (..., arity)."""
        *outer, _, _ = field.shape(inputs)
        return field.reshape(
            np.ascontiguousarray(inputs.swapaxes(-1, -2)), *outer, self.arity
        )

    def read(self, field: Field, wires: Elements) -> Elements:
        """The inverse of `written`."""
        *outer, _ = field.shape(wires)
        return field.reshape(wires, *outer, self.chunk, self.sides).swapaxes(-1, -2)

    def factors(self, field: Field, inputs: Elements) -> tuple[Elements, Elements]:
        """What is multiplied, each (..., chunk)."""
        left, right = inputs[..., 0, :], inputs[..., self.sides - 1, :]
        return left, field.add(
            right, field.constant(self.shift)
        ) if self.shift else right

    def evaluate(self, field: Field, inputs: Elements) -> Elements:
        """The sum of products."""
        return field.total(field.multiply(*self.factors(field, inputs)))


class Validity(ABC):
    """What a proof is of: what enters the gadget, and what must be 0."""

    field: Field
    gadget: Gadget
    calls: int
    length: int  # elements of an encoded measurement
    joint_length: int  # elements of joint randomness
    outputs_checked: int = 1  # how many values must be 0

    @abstractmethod
    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """What enters the gadget, (..., calls, sides, chunk)."""

    @abstractmethod
    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """What must be 0, (..., outputs_checked), from the gadget's results (..., calls)."""


class Circuit(Validity):
    """A type of measurement: how it is encoded, checked, cut to what is summed, and read again."""

    output_length: int

    @abstractmethod
    def encode(self, measurement: Measurement) -> Elements:
        """A measurement as elements; raises InvalidInput if it is out of range."""

    @abstractmethod
    def truncate(self, encoded: Elements) -> Elements:
        """What is summed."""

    def decode(self, total: Elements) -> int | list[int]:
        """The sum, as whole numbers."""
        return self.field.integers(total)


class Count(Circuit):
    """0 or 1: x^2 - x."""

    length = output_length = calls = 1
    joint_length = 0
    gadget = Gadget(1)

    def __init__(self, field: Field) -> None:
        self.field = field

    def encode(self, measurement: Measurement) -> Elements:
        """A measurement as elements."""
        return self.field.constants([whole("count", measurement, 1)])

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """x and x."""
        return encoded[..., None, None, :].repeat(2, axis=-2)

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """x^2 - x."""
        return self.field.subtract(results, encoded)

    def truncate(self, encoded: Elements) -> Elements:
        """What is summed."""
        return encoded

    def decode(self, total: Elements) -> int:
        """How many 1."""
        return self.field.integers(total)[0]


class Bits:
    """Whole numbers in [0, most] as bits; the last one's weight makes the largest sum `most`."""

    def __init__(self, field: Field, most: int) -> None:
        if not 1 <= most < field.modulus // 2:
            raise InvalidInput(
                "max_measurement", f"{most} is out of range", "use a smaller one"
            )
        self.field, self.most = field, most
        self.count = most.bit_length()
        self.last = most - (2 ** (self.count - 1) - 1)

    def write(self, values: Sequence[int] | NDArray[np.integer]) -> Elements:
        """The bits of each value, one value after the other."""
        high = np.array(
            [value >= 2 ** (self.count - 1) for value in values], dtype=bool
        )
        rest = (
            np.array(values, dtype=np.int64 if self.most < 2**62 else object)
            - high * self.last
        )
        bits = [rest >> place & 1 for place in range(self.count - 1)] + [high]
        flat = np.stack([bit.astype(np.int64) for bit in bits], axis=-1).reshape(-1)
        return self.field.from_integers(flat)

    def read(self, bits: Elements) -> Elements:
        """The values of groups of bits, (..., values, count); linear, so shares may be read."""
        field = self.field
        value = field.multiply(bits[..., -1], field.constant(self.last))
        rest = None
        for place in reversed(range(self.count - 1)):
            bit = bits[..., place]
            rest = bit if rest is None else field.add(field.add(rest, rest), bit)
        return value if rest is None else field.add(value, rest)


class Sum(Circuit):
    """A whole number in [0, most]. VDAF-08 checks its bits at once with joint randomness."""

    output_length = 1
    gadget = Gadget(1, sides=1, shift=-1)

    def __init__(self, field: Field, most: int, *, joint: bool) -> None:
        self.field, self.bits = field, Bits(field, most)
        self.length = self.calls = self.bits.count
        self.joint_length = 1 if joint else 0
        self.outputs_checked = 1 if joint else self.calls

    def encode(self, measurement: Measurement) -> Elements:
        """A measurement as elements."""
        return self.bits.write([whole("sum", measurement, self.bits.most)])

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """Bit by bit."""
        return encoded[..., None, None]

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """Each bit's x^2 - x, or one random combination of them."""
        if not self.joint_length:
            return results
        powers = self.field.powers(joint[..., 0], self.calls)
        return self.field.total(self.field.multiply(powers, results))[..., None]

    def truncate(self, encoded: Elements) -> Elements:
        """What is summed."""
        return self.bits.read(encoded[..., None, :])

    def decode(self, total: Elements) -> int:
        """The sum."""
        return self.field.integers(total)[0]


class AllBits(Circuit):
    """A vector whose entries are all 0 or 1: sum r^j b_j (b_j - 1), chunk by chunk.

    With `per_call` each call of the gadget has its own r (VDAF-18), else one r's powers run on
    over all calls (VDAF-08).
    """

    def __init__(
        self, field: Field, length: int, chunk: int, *, per_call: bool
    ) -> None:
        if not (length >= 1 and 1 <= chunk <= MOST_CHUNK):
            raise InvalidInput(
                "chunk_length", f"{chunk} of {length}", f"use 1 to {MOST_CHUNK}"
            )
        self.field, self.length, self.per_call = field, length, per_call
        self.gadget, self.calls = Gadget(chunk), -(-length // chunk)
        self.joint_length = self.calls if per_call else 1

    @cached_property
    def padding(self) -> int:
        """How many zeros fill the last call."""
        return self.calls * self.gadget.chunk - self.length

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """r^j b_j and b_j - 1/shares."""
        field, chunk = self.field, self.gadget.chunk
        bits = chunked(field, encoded, self.calls, chunk)
        left = field.multiply(self._powers(joint), bits)
        both = field.zeros(*field.shape(left)[:-1], 2, chunk)
        both[..., 0, :] = left
        both[..., 1, :] = field.subtract(bits, field.constant(field.inverse(shares)))
        return both

    def _powers(self, joint: Elements) -> Elements:
        field, chunk = self.field, self.gadget.chunk
        if self.per_call:
            return field.powers(joint[..., : self.calls], chunk)
        *outer, _ = field.shape(joint)
        return field.reshape(
            field.powers(joint[..., 0], self.calls * chunk), *outer, self.calls, chunk
        )


class SumVec(AllBits):
    """A vector of whole numbers, each in [0, most]."""

    def __init__(
        self, field: Field, length: int, most: int, chunk: int, *, per_call: bool
    ) -> None:
        self.bits = Bits(field, most)
        super().__init__(field, length * self.bits.count, chunk, per_call=per_call)
        self.output_length = length

    def encode(self, measurement: Measurement) -> Elements:
        """A measurement as elements."""
        values = np.asarray(measurement)
        if values.shape != (self.output_length,) or not _within(values, self.bits.most):
            raise InvalidInput(
                "measurement",
                f"it is not {self.output_length} whole numbers in [0, {self.bits.most}]",
                "follow the task",
            )
        return self.bits.write(values)

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """The sum of all results."""
        return self.field.total(results)[..., None]

    def truncate(self, encoded: Elements) -> Elements:
        """What is summed."""
        *outer, _ = self.field.shape(encoded)
        shape = (*outer, self.output_length, self.bits.count)
        return self.bits.read(self.field.reshape(encoded, *shape))


class Histogram(AllBits):
    """One bucket of many: all 0 or 1, and their sum is 1."""

    def __init__(
        self, field: Field, length: int, chunk: int, *, per_call: bool
    ) -> None:
        super().__init__(field, length, chunk, per_call=per_call)
        self.output_length = length
        self.outputs_checked = 2 if per_call else 1
        self.joint_length += 0 if per_call else 1

    def encode(self, measurement: Measurement) -> Elements:
        """A measurement as elements."""
        bucket = whole("histogram", measurement, self.length - 1)
        return self.field.from_integers(np.arange(self.length) == bucket)

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """That all are bits, and that their sum is 1; VDAF-08 combines both."""
        field = self.field
        bits = field.total(results)
        whole_sum = field.subtract(
            field.total(encoded), field.constant(field.inverse(shares))
        )
        both = field.zeros(*field.shape(bits), 2)
        both[..., 0], both[..., 1] = bits, whole_sum
        if self.per_call:
            return both
        return field.total(field.multiply(field.powers(joint[..., 1], 2), both))[
            ..., None
        ]

    def truncate(self, encoded: Elements) -> Elements:
        """What is summed."""
        return encoded


def chunked(field: Field, elements: Elements, calls: int, chunk: int) -> Elements:
    """The last axis in rows of `chunk`, the last row filled with zeros."""
    *outer, length = field.shape(elements)
    if length != calls * chunk:
        full = field.zeros(*outer, calls * chunk)
        full[..., :length] = elements
        elements = full
    return field.reshape(elements, *outer, calls, chunk)


def whole(name: str, measurement: Measurement, most: int) -> int:
    """One whole number in [0, most]; raises InvalidInput."""
    if not isinstance(measurement, int | np.integer) or not 0 <= measurement <= most:
        raise InvalidInput(
            name, f"{measurement!r} is not in [0, {most}]", "follow the task"
        )
    return int(measurement)


def _within(values: NDArray[np.generic], most: int) -> bool:
    if values.dtype.kind not in "iuO":
        return False
    return all(0 <= value <= most for value in (values.min(), values.max()))
