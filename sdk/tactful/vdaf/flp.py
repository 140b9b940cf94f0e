"""The fully linear proof that a shared vector satisfies a circuit (BBCGGI19, Theorem 4.3).

The prover sends the polynomial of the gadget: the gadget applied to the polynomials
through the values of each wire. Usually this takes one transform per wire. Here it
takes one product of matrices. With T_k the Lagrange polynomials of the P-th roots of
unity w^k, and A, B the wires of the two factors,

    G(x) = sum_kl M_kl T_k(x) T_l(x),  M = A B^T,

and at an odd power x of the 2P-th root, where x^P = -1, a product is a sum:

    T_k T_l = -2/P (w^l T_k - w^k T_l) / (w^k - w^l)   for k != l.

So all values of G follow from the diagonal of M and one vector that is linear in
M + M^T.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tactful.vdaf import ntt
from tactful.vdaf.circuit import Validity
from tactful.vdaf.field import Elements, Field

Basis = Literal["values", "coefficients"]
"""The form of the gadget polynomial: values in VDAF-18, coefficients in VDAF-08, PINE."""


def order(circuit: Validity) -> int:
    """Return P: a power of two above the number of calls of the gadget."""
    return 1 << circuit.calls.bit_length()


def proof_length(circuit: Validity) -> int:
    """Return the elements of a proof: wire seeds, and a polynomial of degree 2P - 2."""
    return circuit.gadget.arity + 2 * order(circuit) - 1


def query_length(circuit: Validity) -> int:
    """Return the elements of query randomness: a point, and a factor per output."""
    return 1 + (circuit.outputs_checked if circuit.outputs_checked > 1 else 0)


def verifier_length(circuit: Validity) -> int:
    """Return the elements of a verifier: output, wires and polynomial at the point."""
    return circuit.gadget.arity + 2


def prove(
    circuit: Validity, basis: Basis, encoded: Elements, seeds: Elements, joint: Elements
) -> Elements:
    """Return proofs that `encoded` (..., 1, length) satisfies `circuit`.

    The shape is (..., proofs, proof_length).

    `seeds` (..., proofs, arity) blind the wires; `joint` is (..., proofs, joint_length).
    """
    field, gadget = circuit.field, circuit.gadget
    inputs = circuit.inputs(encoded, joint, 1)
    wires = _wires(circuit, inputs, seeds)
    values = _gadget_values(field, *gadget.factors(field, wires))
    size = 2 * order(circuit) - 1
    polynomial = values if basis == "values" else ntt.interpolate(field, values)
    return np.concatenate([seeds, polynomial[..., :size]], axis=-1)


def query(
    circuit: Validity,
    basis: Basis,
    encoded: Elements,
    proofs: Elements,
    randomness: Elements,
    joint: Elements,
    shares: int,
) -> Elements:
    """Return a share of the verifiers, (..., proofs, verifier_length).

    `randomness` is (..., proofs, query_length); its point is not a P-th root of unity.
    """
    field, gadget, size = circuit.field, circuit.gadget, order(circuit)
    seeds, sent = proofs[..., : gadget.arity], proofs[..., gadget.arity :]
    values = _all_values(field, basis, sent)
    results = values[..., 2 : 2 * circuit.calls + 1 : 2]
    checked = circuit.outputs(encoded, results, joint, shares)
    if circuit.outputs_checked > 1:
        checked = field.total(field.multiply(randomness[..., :-1], checked))[..., None]
    point = randomness[..., -1]
    wires = _wires(circuit, circuit.inputs(encoded, joint, shares), seeds)
    at_point = _at(field, ntt.weights(field, point, size), wires)
    point_weights = ntt.weights(field, point, 2 * size)
    polynomial = field.total(field.multiply(point_weights, values))
    flat = gadget.written(field, at_point)
    return np.concatenate([checked, flat, polynomial[..., None]], axis=-1)


def decide(circuit: Validity, verifiers: Elements) -> NDArray[np.bool_]:
    """Return which verifiers (..., verifier_length) accept, summed over all shares."""
    field, gadget = circuit.field, circuit.gadget
    inputs = gadget.read(field, verifiers[..., 1:-1])
    holds = field.equal(gadget.evaluate(field, inputs), verifiers[..., -1])
    return holds & field.equal(verifiers[..., 0], np.zeros_like(verifiers[..., 0]))


def usable(field: Field, circuit: Validity, point: int) -> bool:
    """Return True if a verifier at `point` reveals only that the proof is valid."""
    return pow(point, order(circuit), field.modulus) != 1


def _wires(circuit: Validity, inputs: Elements, seeds: Elements) -> Elements:
    """Return the values of each wire at the roots, shape (..., P, sides, chunk).

    They are its seed, its input in each call, then zeros.
    """
    field, gadget = circuit.field, circuit.gadget
    *outer, calls, sides, chunk = field.shape(inputs)
    wires = field.zeros(*outer, order(circuit), sides, chunk)
    wires[..., 0, :, :] = gadget.read(field, seeds)
    wires[..., 1 : calls + 1, :, :] = inputs
    return wires


def _at(field: Field, weights: Elements, wires: Elements) -> Elements:
    """Return each wire's polynomial at the point of `weights`, (..., sides, chunk)."""
    *outer, size, sides, chunk = field.shape(wires)
    flat = field.reshape(wires, *outer, size, sides * chunk)
    values = field.matmul(weights[..., None, :], flat)
    return field.reshape(values, *outer, sides, chunk)


def _gadget_values(field: Field, left: Elements, right: Elements) -> Elements:
    """Return the gadget polynomial at all 2P-th roots.

    `left` and `right` are the wires of the factors, (..., P, chunk) each.
    """
    products = _products(field, left, right)
    *outer, size, _ = field.shape(products)
    diagonal = products[..., np.arange(size), np.arange(size)]
    pairs = field.add(products, products.swapaxes(-1, -2))
    flat = field.reshape(pairs, *outer, size * size)
    skewed = field.reshape(flat[..., _skew(size)], *outer, size, size)
    crossed = field.matmul(skewed, _crossing(field, size))[..., 0]
    spectrum = ntt.evaluate(field, diagonal)
    square_spectrum = _square_spectrum(field, size)
    squares = ntt.interpolate(field, field.multiply(spectrum, square_spectrum))
    values = field.zeros(*outer, size, 2)
    values[..., 0] = diagonal
    values[..., 1] = field.add(ntt.between(field, crossed), squares)
    return field.reshape(values, *outer, 2 * size)


def _products(field: Field, left: Elements, right: Elements) -> Elements:
    """Return left right^T.

    The column of seeds is multiplied separately: without it, a prover's right factors
    are small, and the product is quick.
    """
    transposed = right.swapaxes(-1, -2)
    seeds = field.matmul(left, transposed[..., :1])
    inputs = field.matmul(left, transposed[..., 1:])
    return np.concatenate([seeds, inputs], axis=-1)


def _all_values(field: Field, basis: Basis, sent: Elements) -> Elements:
    """Return the values of the polynomial at all 2P-th roots.

    The last value is not sent: the coefficient of x^(2P-1) is 0, so that
    sum_i w^i values_i = 0.
    """
    *outer, count = field.shape(sent)
    values = field.zeros(*outer, count + 1)
    values[..., :count] = sent
    if basis == "coefficients":
        return ntt.evaluate(field, values)
    root = field.root(count + 1)
    others = field.total(field.multiply(sent, _row(field, count)))
    values[..., count] = field.multiply(others, field.constant(-root))
    return values


@lru_cache(maxsize=16)
def _skew(size: int) -> NDArray[np.int64]:
    """Return the index of the entry (k, k - d) of a square matrix, for all k and d."""
    rows, differences = np.ogrid[:size, :size]
    return np.asarray(rows * size + (rows - differences) % size).reshape(-1)


@lru_cache(maxsize=16)
def _crossing(field: Field, size: int) -> Elements:
    """Return -2/P 1/(w^d - 1) for each difference d, and 0 for d = 0, as a column."""
    root, scale = field.root(size), -2 * field.inverse(size)
    column = [0]
    for difference in range(1, size):
        power = pow(root, difference, field.modulus)
        column.append(scale * field.inverse(power - 1))
    return field.reshape(field.constants(column), size, 1)


@lru_cache(maxsize=16)
def _square_spectrum(field: Field, size: int) -> Elements:
    """Return the transform of T_0^2 at the odd points.

    T_k is T_0 rotated, so the sum of squares is a convolution.
    """
    root, odd = field.root(size), field.root(2 * size)
    scale = -2 * field.inverse(size)
    first = [
        scale * field.inverse(odd * pow(root, d, field.modulus) - 1)
        for d in range(size)
    ]
    return ntt.evaluate(field, field.constants([value * value for value in first]))


@lru_cache(maxsize=16)
def _row(field: Field, count: int) -> Elements:
    """Return the first powers of the root of order count + 1."""
    root = field.root(count + 1)
    return field.constants([pow(root, i, field.modulus) for i in range(count)])
