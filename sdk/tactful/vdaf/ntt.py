"""The number-theoretic transform of polynomials at roots of unity."""

from __future__ import annotations

from functools import lru_cache

from tactful.vdaf.field import Elements, Field


def evaluate(field: Field, coefficients: Elements) -> Elements:
    """Return the values at 1, w, w^2, ... along the last axis.

    Its length is a power of two.
    """
    return _transform(field, coefficients, inverse=False)


def interpolate(field: Field, values: Elements) -> Elements:
    """Return the coefficients with these values at 1, w, w^2, ..."""
    order = field.shape(values)[-1]
    scale = field.constant(field.inverse(order))
    return field.multiply(_transform(field, values, inverse=True), scale)


def between(field: Field, values: Elements) -> Elements:
    """Return the values at the odd powers of the root of twice the order."""
    order = field.shape(values)[-1]
    coefficients = interpolate(field, values)
    return evaluate(field, field.multiply(coefficients, _twist(field, order)))


def weights(field: Field, point: Elements, order: int) -> Elements:
    """Return the Lagrange polynomials at `point`, shape (..., order).

    They are the weight of each value in the value at `point`.
    """
    powers = field.constant(1, *field.shape(point), order)
    if order > 1:
        powers[..., 1:] = field.powers(point, order - 1)
    return interpolate(field, powers)


def _transform(field: Field, values: Elements, *, inverse: bool) -> Elements:
    """Return the transform, in Stockham's order.

    Each step halves the size of transforms and doubles their number. The last axis
    counts transforms, so that the result is in natural order.
    """
    *outer, order = field.shape(values)
    blocks = field.reshape(values, *outer, order, 1)
    size = order
    while size > 1:
        half = size // 2
        low, high = blocks[..., :half, :], blocks[..., half:, :]
        twiddles = _twiddles(field, size, inverse)
        merged = field.zeros(*outer, half, 2, order // size)
        merged[..., 0, :] = field.add(low, high)
        merged[..., 1, :] = field.multiply(field.subtract(low, high), twiddles)
        size = half
        blocks = field.reshape(merged, *outer, size, order // size)
    return field.reshape(blocks, *outer, order)


@lru_cache(maxsize=64)
def _twiddles(field: Field, order: int, inverse: bool) -> Elements:
    """Return the first half of the powers of the root, as a column."""
    root = field.root(order)
    if inverse:
        root = field.inverse(root)
    return field.reshape(_row(field, root, order // 2), -1, 1)


@lru_cache(maxsize=32)
def _twist(field: Field, order: int) -> Elements:
    return _row(field, field.root(2 * order), order)


def _row(field: Field, root: int, count: int) -> Elements:
    row, power = [], 1
    for _ in range(count):
        row.append(power)
        power = power * root % field.modulus
    return field.constants(row)
