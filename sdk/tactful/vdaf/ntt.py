"""The number-theoretic transform: a polynomial's coefficients and its values at roots of unity."""

from __future__ import annotations

from functools import lru_cache

from tactful.vdaf.field import Elements, Field


def evaluate(field: Field, coefficients: Elements) -> Elements:
    """The values at 1, w, w^2, ... along the last axis, whose length is a power of two."""
    return _transform(field, coefficients, inverse=False)


def interpolate(field: Field, values: Elements) -> Elements:
    """The coefficients that have these values at 1, w, w^2, ...; undoes `evaluate`."""
    order = field.shape(values)[-1]
    scale = field.constant(field.inverse(order))
    return field.multiply(_transform(field, values, inverse=True), scale)


def between(field: Field, values: Elements) -> Elements:
    """The values of the same polynomials at the odd powers of the root of twice the order."""
    order = field.shape(values)[-1]
    return evaluate(
        field, field.multiply(interpolate(field, values), _twist(field, order))
    )


def weights(field: Field, point: Elements, order: int) -> Elements:
    """Each value's weight in the value at `point`, shape (..., order): Lagrange's polynomials."""
    powers = field.constant(1, *field.shape(point), order)
    if order > 1:
        powers[..., 1:] = field.powers(point, order - 1)
    return interpolate(field, powers)


def _transform(field: Field, values: Elements, *, inverse: bool) -> Elements:
    """Stockham's order: each step halves what is transformed and doubles how many of it there are.

    The first axis from the end counts transforms, so that the result is in natural order.
    """
    *outer, order = field.shape(values)
    here = field.reshape(values, *outer, order, 1)
    size = order
    while size > 1:
        half = size // 2
        low, high = here[..., :half, :], here[..., half:, :]
        turned = field.multiply(field.subtract(low, high), _turns(field, size, inverse))
        both = field.zeros(*outer, half, 2, order // size)
        both[..., 0, :], both[..., 1, :] = field.add(low, high), turned
        size = half
        here = field.reshape(both, *outer, size, order // size)
    return field.reshape(here, *outer, order)


@lru_cache(maxsize=64)
def _turns(field: Field, order: int, inverse: bool) -> Elements:
    """The first half of the powers of the root, standing upright."""
    root = field.root(order)
    return field.reshape(
        _row(field, field.inverse(root) if inverse else root, order // 2), -1, 1
    )


@lru_cache(maxsize=32)
def _twist(field: Field, order: int) -> Elements:
    return _row(field, field.root(2 * order), order)


def _row(field: Field, root: int, count: int) -> Elements:
    row, power = [], 1
    for _ in range(count):
        row.append(power)
        power = power * root % field.modulus
    return field.constants(row)
