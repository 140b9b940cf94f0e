"""Validity circuits of Count, Sum, SumVec and Histogram.

Every circuit calls one gadget, a sum of products of two factors, and checks an affine
function of the gadget's outputs (draft-irtf-cfrg-vdaf, sections 7.3 and 7.4). Arrays may
have any leading axes.
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

MAX_CHUNK = 1 << 16  # far above the best chunk of the longest vector


@dataclass(frozen=True)
class Gadget:
    """The sum of x_j (y_j + shift) over `chunk` pairs; with one side, y is x.

    (2, 0) is ParallelSum of Mul, (1, -1) with chunk 1 the range check x^2 - x, and
    (1, 0) a sum of squares. Inputs have the axes (side, place); on the wire they are
    ordered by place.
    """

    chunk: int
    sides: int = 2
    shift: int = 0

    @property
    def arity(self) -> int:
        """The number of input wires."""
        return self.sides * self.chunk

    def written(self, field: Field, inputs: Elements) -> Elements:
        """Return inputs (..., sides, chunk) in the order of the wires, (..., arity)."""
        *outer, _, _ = field.shape(inputs)
        ordered = np.ascontiguousarray(inputs.swapaxes(-1, -2))
        return field.reshape(ordered, *outer, self.arity)

    def read(self, field: Field, wires: Elements) -> Elements:
        """Return the inputs that `written` ordered."""
        *outer, _ = field.shape(wires)
        return field.reshape(wires, *outer, self.chunk, self.sides).swapaxes(-1, -2)

    def factors(self, field: Field, inputs: Elements) -> tuple[Elements, Elements]:
        """Return the two factors, each (..., chunk)."""
        left, right = inputs[..., 0, :], inputs[..., self.sides - 1, :]
        if self.shift:
            right = field.add(right, field.constant(self.shift))
        return left, right

    def evaluate(self, field: Field, inputs: Elements) -> Elements:
        """Return the sum of products."""
        return field.total(field.multiply(*self.factors(field, inputs)))


class Validity(ABC):
    """A circuit that a proof is about: gadget inputs, and outputs that must be 0.

    `length` is the number of elements of an encoded measurement, `joint_length` of
    joint randomness, and `outputs_checked` of outputs.
    """

    field: Field
    gadget: Gadget
    calls: int
    length: int
    joint_length: int
    outputs_checked: int = 1

    @abstractmethod
    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """Return the inputs of the gadget, (..., calls, sides, chunk)."""

    @abstractmethod
    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """Return the values that must be 0, (..., outputs_checked).

        `results` are those of the gadget, (..., calls).
        """


class Circuit(Validity):
    """A circuit with its encoding: of measurements, of output shares, and of sums."""

    output_length: int

    @abstractmethod
    def encode(self, measurement: Measurement) -> Elements:
        """Return the measurement as elements; raise InvalidInput if it is out of range."""

    @abstractmethod
    def truncate(self, encoded: Elements) -> Elements:
        """Return the part that is summed."""

    def decode(self, total: Elements) -> int | list[int]:
        """Return the sum as integers."""
        return self.field.integers(total)


class Count(Circuit):
    """The circuit of 0 or 1: x^2 - x."""

    length = output_length = calls = 1
    joint_length = 0
    gadget = Gadget(1)

    def __init__(self, field: Field) -> None:
        self.field = field

    def encode(self, measurement: Measurement) -> Elements:
        """Return the measurement as elements."""
        return self.field.constants([whole("count", measurement, 1)])

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """Return x and x."""
        return encoded[..., None, None, :].repeat(2, axis=-2)

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """Return x^2 - x."""
        return self.field.subtract(results, encoded)

    def truncate(self, encoded: Elements) -> Elements:
        """Return the part that is summed."""
        return encoded

    def decode(self, total: Elements) -> int:
        """Return the number of ones."""
        return self.field.integers(total)[0]


class Bits:
    """Integers in [0, most] as bits; the weight of the last bit makes the sum `most`."""

    def __init__(self, field: Field, most: int) -> None:
        if not 1 <= most < field.modulus // 2:
            raise InvalidInput(
                "max_measurement", f"{most} is out of range", "use a smaller one"
            )
        self.field, self.most = field, most
        self.count = most.bit_length()
        self.last = most - (2 ** (self.count - 1) - 1)

    def write(self, values: Sequence[int] | NDArray[np.integer]) -> Elements:
        """Return the bits of each value, one value after the other."""
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
        """Return the values of groups of bits, (..., values, count).

        It is linear, so it can be applied to shares.
        """
        field = self.field
        value = field.multiply(bits[..., -1], field.constant(self.last))
        rest = None
        for place in reversed(range(self.count - 1)):
            bit = bits[..., place]
            rest = bit if rest is None else field.add(field.add(rest, rest), bit)
        return value if rest is None else field.add(value, rest)


class Sum(Circuit):
    """The circuit of an integer in [0, most].

    VDAF-08 checks all bits together with joint randomness.
    """

    output_length = 1
    gadget = Gadget(1, sides=1, shift=-1)

    def __init__(self, field: Field, most: int, *, joint: bool) -> None:
        self.field, self.bits = field, Bits(field, most)
        self.length = self.calls = self.bits.count
        self.joint_length = 1 if joint else 0
        self.outputs_checked = 1 if joint else self.calls

    def encode(self, measurement: Measurement) -> Elements:
        """Return the measurement as elements."""
        return self.bits.write([whole("sum", measurement, self.bits.most)])

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """Return the bits, one for each call."""
        return encoded[..., None, None]

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """Return x^2 - x of each bit, or one random combination of them."""
        if not self.joint_length:
            return results
        powers = self.field.powers(joint[..., 0], self.calls)
        return self.field.total(self.field.multiply(powers, results))[..., None]

    def truncate(self, encoded: Elements) -> Elements:
        """Return the part that is summed."""
        return self.bits.read(encoded[..., None, :])

    def decode(self, total: Elements) -> int:
        """Return the sum."""
        return self.field.integers(total)[0]


class AllBits(Circuit):
    """The circuit of a vector of bits: sum r^j b_j (b_j - 1), chunk by chunk.

    With `per_call` each call of the gadget has its own r (VDAF-18). Otherwise the
    powers of one r continue over all calls (VDAF-08).
    """

    def __init__(
        self, field: Field, length: int, chunk: int, *, per_call: bool
    ) -> None:
        if not (length >= 1 and 1 <= chunk <= MAX_CHUNK):
            raise InvalidInput(
                "chunk_length", f"{chunk} of {length}", f"use 1 to {MAX_CHUNK}"
            )
        self.field, self.length, self.per_call = field, length, per_call
        self.gadget, self.calls = Gadget(chunk), -(-length // chunk)
        self.joint_length = self.calls if per_call else 1

    @cached_property
    def padding(self) -> int:
        """The number of zeros in the last call."""
        return self.calls * self.gadget.chunk - self.length

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        """Return r^j b_j and b_j - 1/shares."""
        field, chunk = self.field, self.gadget.chunk
        bits = chunked(field, encoded, self.calls, chunk)
        left = field.multiply(self._powers(joint), bits)
        pairs = field.zeros(*field.shape(left)[:-1], 2, chunk)
        pairs[..., 0, :] = left
        pairs[..., 1, :] = field.subtract(bits, field.constant(field.inverse(shares)))
        return pairs

    def _powers(self, joint: Elements) -> Elements:
        field, chunk = self.field, self.gadget.chunk
        if self.per_call:
            return field.powers(joint[..., : self.calls], chunk)
        *outer, _ = field.shape(joint)
        return field.reshape(
            field.powers(joint[..., 0], self.calls * chunk), *outer, self.calls, chunk
        )


class SumVec(AllBits):
    """The circuit of a vector of integers, each in [0, most]."""

    def __init__(
        self, field: Field, length: int, most: int, chunk: int, *, per_call: bool
    ) -> None:
        self.bits = Bits(field, most)
        super().__init__(field, length * self.bits.count, chunk, per_call=per_call)
        self.output_length = length

    def encode(self, measurement: Measurement) -> Elements:
        """Return the measurement as elements."""
        values = np.asarray(measurement)
        if values.shape != (self.output_length,) or not _within(values, self.bits.most):
            raise InvalidInput(
                "measurement",
                f"it is not {self.output_length} integers in [0, {self.bits.most}]",
                "follow the task",
            )
        return self.bits.write(values)

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """Return the sum of all results."""
        return self.field.total(results)[..., None]

    def truncate(self, encoded: Elements) -> Elements:
        """Return the part that is summed."""
        *outer, _ = self.field.shape(encoded)
        shape = (*outer, self.output_length, self.bits.count)
        return self.bits.read(self.field.reshape(encoded, *shape))


class Histogram(AllBits):
    """The circuit of one bucket of many: all entries are bits, and their sum is 1."""

    def __init__(
        self, field: Field, length: int, chunk: int, *, per_call: bool
    ) -> None:
        super().__init__(field, length, chunk, per_call=per_call)
        self.output_length = length
        self.outputs_checked = 2 if per_call else 1
        self.joint_length += 0 if per_call else 1

    def encode(self, measurement: Measurement) -> Elements:
        """Return the measurement as elements."""
        bucket = whole("histogram", measurement, self.length - 1)
        return self.field.from_integers(np.arange(self.length) == bucket)

    def outputs(
        self, encoded: Elements, results: Elements, joint: Elements, shares: int
    ) -> Elements:
        """Return both checks: entries are bits, and their sum is 1; VDAF-08 combines them."""
        field = self.field
        bits = field.total(results)
        share_of_one = field.constant(field.inverse(shares))
        checks = field.zeros(*field.shape(bits), 2)
        checks[..., 0] = bits
        checks[..., 1] = field.subtract(field.total(encoded), share_of_one)
        if self.per_call:
            return checks
        powers = field.powers(joint[..., 1], 2)
        return field.total(field.multiply(powers, checks))[..., None]

    def truncate(self, encoded: Elements) -> Elements:
        """Return the part that is summed."""
        return encoded


def chunked(field: Field, elements: Elements, calls: int, chunk: int) -> Elements:
    """Return the last axis in rows of `chunk`, the last row filled with zeros."""
    *outer, length = field.shape(elements)
    if length != calls * chunk:
        full = field.zeros(*outer, calls * chunk)
        full[..., :length] = elements
        elements = full
    return field.reshape(elements, *outer, calls, chunk)


def whole(name: str, measurement: Measurement, most: int) -> int:
    """Return one integer in [0, most]; raise InvalidInput for another measurement."""
    if not isinstance(measurement, int | np.integer) or not 0 <= measurement <= most:
        raise InvalidInput(
            name, f"{measurement!r} is not in [0, {most}]", "follow the task"
        )
    return int(measurement)


def _within(values: NDArray[np.generic], most: int) -> bool:
    if values.dtype.kind not in "iuO":
        return False
    return all(0 <= value <= most for value in (values.min(), values.max()))
