"""The fully linear proof that a shared vector satisfies a circuit (BBCGGI19, Theorem 4.3).

The prover sends the gadget's polynomial: what the gadget makes of the polynomials through each
wire's values. Usually that takes one transform per wire; here it takes one product of matrices.
With T_k the Lagrange polynomials of the P-th roots of unity w^k, and A, B the factors' wires,

    G(x) = sum_kl M_kl T_k(x) T_l(x),  M = A B^T,

and at an odd power x of the 2P-th root, where x^P = -1, a product of two is a sum of ones:

    T_k T_l = -2/P (w^l T_k - w^k T_l) / (w^k - w^l)   for k != l.

So all values of G follow from M's diagonal and one vector that is linear in M + M^T.
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
"""How a gadget's polynomial is sent: VDAF-18 its values, VDAF-08 and PINE its coefficients."""


def order(circuit: Validity) -> int:
    """P: the power of two that holds a seed and every call of the gadget."""
    return 1 << circuit.calls.bit_length()


def proof_length(circuit: Validity) -> int:
    """Elements of a proof: the wires' seeds, and the polynomial of degree 2P - 2."""
    return circuit.gadget.arity + 2 * order(circuit) - 1


def query_length(circuit: Validity) -> int:
    """Elements of query randomness: one point, and one factor for each of several outputs."""
    return 1 + (circuit.outputs_checked if circuit.outputs_checked > 1 else 0)


def verifier_length(circuit: Validity) -> int:
    """Elements of a verifier: the output, each wire at the point, the polynomial there."""
    return circuit.gadget.arity + 2


def prove(
    circuit: Validity, basis: Basis, encoded: Elements, seeds: Elements, joint: Elements
) -> Elements:
    """Proofs, (..., proofs, proof_length), that `encoded` (..., 1, length) satisfies `circuit`.

    `seeds` (..., proofs, arity) blind the wires; `joint` is (..., proofs, joint_length).
    """
    field, gadget = circuit.field, circuit.gadget
    inputs = circuit.inputs(encoded, joint, 1)
    wires = _wires(circuit, inputs, seeds)
    values = _gadget_values(field, *gadget.factors(field, wires))
    size = 2 * order(circuit) - 1
    written = values if basis == "values" else ntt.interpolate(field, values)
    return np.concatenate([seeds, written[..., :size]], axis=-1)


def query(
    circuit: Validity,
    basis: Basis,
    encoded: Elements,
    proofs: Elements,
    randomness: Elements,
    joint: Elements,
    shares: int,
) -> Elements:
    """A share of the verifiers, (..., proofs, verifier_length), from shares of what was proved.

    `randomness` is (..., proofs, query_length); its point must be no P-th root of unity.
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
    there = field.total(field.multiply(ntt.weights(field, point, 2 * size), values))
    flat = gadget.written(field, at_point)
    return np.concatenate([checked, flat, there[..., None]], axis=-1)


def decide(circuit: Validity, verifiers: Elements) -> NDArray[np.bool_]:
    """Which verifiers (..., verifier_length), summed over all shares, accept."""
    field, gadget = circuit.field, circuit.gadget
    inputs = gadget.read(field, verifiers[..., 1:-1])
    holds = field.equal(gadget.evaluate(field, inputs), verifiers[..., -1])
    return holds & field.equal(verifiers[..., 0], np.zeros_like(verifiers[..., 0]))


def usable(field: Field, circuit: Validity, point: int) -> bool:
    """Whether a verifier at `point` tells nothing but that the proof holds."""
    return pow(point, order(circuit), field.modulus) != 1


def _wires(circuit: Validity, inputs: Elements, seeds: Elements) -> Elements:
    """Each wire's values at the roots: its seed, its input in each call, then zeros.

    Shape (..., P, sides, chunk).
    """
    field, gadget = circuit.field, circuit.gadget
    *outer, calls, sides, chunk = field.shape(inputs)
    wires = field.zeros(*outer, order(circuit), sides, chunk)
    wires[..., 0, :, :] = gadget.read(field, seeds)
    wires[..., 1 : calls + 1, :, :] = inputs
    return wires


def _at(field: Field, weights: Elements, wires: Elements) -> Elements:
    """Each wire's polynomial at the point that `weights` belong to, (..., sides, chunk)."""
    *outer, size, sides, chunk = field.shape(wires)
    flat = field.reshape(wires, *outer, size, sides * chunk)
    values = field.matmul(weights[..., None, :], flat)
    return field.reshape(values, *outer, sides, chunk)


def _gadget_values(field: Field, left: Elements, right: Elements) -> Elements:
    """The gadget's polynomial at all 2P-th roots, from its factors' wires, (..., P, chunk) each."""
    products = _products(field, left, right)
    *outer, size, _ = field.shape(products)
    own = products[..., np.arange(size), np.arange(size)]
    pairs = field.add(products, products.swapaxes(-1, -2))
    flat = field.reshape(pairs, *outer, size * size)
    skewed = field.reshape(flat[..., _skew(size)], *outer, size, size)
    crossed = field.matmul(skewed, _crossing(field, size))[..., 0]
    squares = ntt.interpolate(
        field, field.multiply(ntt.evaluate(field, own), _square_spectrum(field, size))
    )
    values = field.zeros(*outer, size, 2)
    values[..., 0] = own
    values[..., 1] = field.add(ntt.between(field, crossed), squares)
    return field.reshape(values, *outer, 2 * size)


def _products(field: Field, left: Elements, right: Elements) -> Elements:
    """left right^T. The seeds are apart, for without them a prover's right side is small."""
    turned = right.swapaxes(-1, -2)
    return np.concatenate(
        [field.matmul(left, turned[..., :1]), field.matmul(left, turned[..., 1:])],
        axis=-1,
    )


def _all_values(field: Field, basis: Basis, sent: Elements) -> Elements:
    """The polynomial's values at all 2P-th roots.

    The last one is not sent: the coefficient of x^(2P-1) is 0, so sum_i w^i values_i = 0.
    """
    *outer, known = field.shape(sent)
    values = field.zeros(*outer, known + 1)
    values[..., :known] = sent
    if basis == "coefficients":
        return ntt.evaluate(field, values)
    root = field.root(known + 1)
    others = field.total(field.multiply(sent, _row(field, known)))
    values[..., known] = field.multiply(others, field.constant(-root))
    return values


@lru_cache(maxsize=16)
def _skew(size: int) -> NDArray[np.int64]:
    """Where the entry (k, k - d) of a square stands, for all k and d."""
    rows, differences = np.ogrid[:size, :size]
    return np.asarray(rows * size + (rows - differences) % size).reshape(-1)


@lru_cache(maxsize=16)
def _crossing(field: Field, size: int) -> Elements:
    """-2/P 1/(w^d - 1) for each difference d of exponents, and 0 for d = 0; upright."""
    root, scale = field.root(size), -2 * field.inverse(size)
    row = [0] + [
        scale * field.inverse(pow(root, d, field.modulus) - 1) for d in range(1, size)
    ]
    return field.reshape(field.constants(row), size, 1)


@lru_cache(maxsize=16)
def _square_spectrum(field: Field, size: int) -> Elements:
    """The transform of T_0^2 at the odd points: T_k is T_0 turned, so squares are a convolution."""
    root, odd = field.root(size), field.root(2 * size)
    scale = -2 * field.inverse(size)
    first = [
        scale * field.inverse(odd * pow(root, d, field.modulus) - 1)
        for d in range(size)
    ]
    return ntt.evaluate(field, field.constants([value * value for value in first]))


@lru_cache(maxsize=16)
def _row(field: Field, count: int) -> Elements:
    """The first powers of the root of order count + 1."""
    root = field.root(count + 1)
    return field.constants([pow(root, i, field.modulus) for i in range(count)])
