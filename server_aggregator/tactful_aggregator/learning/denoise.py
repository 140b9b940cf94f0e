"""Denoising of a symmetric matrix: a few strong directions, and a shrunken rest."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.learning.count_sketch import Sketch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCALES = (0.0, 0.5, 2.0, 8.0, 32.0, 128.0, 512.0)  # variances of true entries, in tau^2
EM_STEPS = 25
IMPUTATIONS = 3  # of the unknown diagonal
LEAST_ENTRIES = 50  # of a group; with fewer, all are taken for noise
MAX_PASSES = 10  # of message passing
LEAST_FALL = 0.995  # message passing stops unless the noise falls below this share


class Noisy(NamedTuple):
    """A symmetric matrix with diagonal 0, and the noise `tau` on each entry."""

    matrix: Floats
    tau: float


def symmetric(upper: Floats, size: int) -> Floats:
    """Return the matrix with this strict upper triangle (row by row) and diagonal 0."""
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size, 1)] = upper
    return matrix + matrix.T


class Spectrum(NamedTuple):
    """Eigenvalues of a noisy matrix, their denoised values, and the eigenvectors.

    `kept` is 0 for eigenvalues up to the edge of the noise.
    """

    values: Floats
    kept: Floats
    vectors: Floats

    @classmethod
    def of(cls, noisy: Floats, tau: float) -> Spectrum:
        """Return the spectrum, with sqrt(e^2 - 4 tau^2 n) for e above 2 tau sqrt(n)."""
        edge = 2 * tau * math.sqrt(len(noisy))
        values, vectors = np.linalg.eigh(noisy)
        excess = np.where(values > edge, np.square(values) - edge * edge, 0.0)
        return cls(values, np.sqrt(excess), vectors)

    def part(self) -> Floats:
        """Return the matrix of the denoised eigenvalues."""
        is_kept = self.kept > 0
        vectors = self.vectors[:, is_kept]
        matrix: Floats = (vectors * self.kept[is_kept]) @ vectors.T
        return matrix

    def divergence(self) -> float:
        """Return the sum over entries of how much each one changes itself in `part`.

        It is (f(a) - f(b)) / (a - b) over pairs of eigenvalues a and b, and f' once for
        each (Candes, Sing-Long and Trzasko 2013, for singular values).
        """
        is_kept = self.kept > 0
        values, denoised = self.values[is_kept], self.kept[is_kept]
        distances = values[:, None] - self.values
        slopes = np.divide(
            denoised[:, None] - self.kept,
            distances,
            out=np.zeros_like(distances),
            where=distances > 0,
        )
        return float(slopes.sum() + (values / denoised).sum())


def recovered(noisy_sketch: Floats, tau: float, sketch: Sketch, most: Floats) -> Noisy:
    """Return the matrix whose upper triangle has this sketch, with noise `tau`.

    It uses approximate message passing (Donoho, Maleki and Montanari 2009): the part
    that stands out of the noise is subtracted from the sketch, so that entries which
    share its buckets are less noisy. The Onsager term keeps the remaining noise
    independent of the estimate. `most` is as in `low_rank`.
    """
    size = len(most)
    if not sketch.buckets:
        return Noisy(symmetric(noisy_sketch, size), tau)
    upper = np.triu_indices(size, 1)
    estimate = np.zeros(sketch.entries)
    residual = noisy_sketch
    onsager = 0.0
    diagonal = np.zeros(size)
    best = Noisy(np.zeros((size, size)), math.inf)
    for _ in range(MAX_PASSES):
        residual = noisy_sketch - sketch.of_all(estimate) + residual * onsager
        level = max(math.sqrt(float(np.square(residual).mean())), tau)
        if level > LEAST_FALL * best.tau:
            break
        best = Noisy(symmetric(estimate + sketch.read(residual), size), level)
        spectrum = Spectrum.of(best.matrix + np.diag(diagonal), level)
        part = spectrum.part()
        estimate = part[upper]
        diagonal = np.clip(np.diag(part), -most, most)
        onsager = spectrum.divergence() / sketch.buckets
    return best


def low_rank(noisy: Floats, tau: float, most: Floats) -> Floats:
    """Return the part of `noisy` that stands out of noise `tau`, shape (n, n).

    The diagonal of `noisy` is unknown. It is imputed from that part repeatedly, at most
    `most` in size.
    """
    part = above_the_edge(noisy, tau)
    for _ in range(IMPUTATIONS):
        diagonal = np.clip(np.diag(part), -most, most)
        part = above_the_edge(noisy + np.diag(diagonal), tau)
    return part


def above_the_edge(noisy: Floats, tau: float) -> Floats:
    """Return the matrix with denoised eigenvalues; those within the noise become 0."""
    return Spectrum.of(noisy, tau).part()


def shrunk(noisy: Floats, tau: float, groups: Ints) -> Floats:
    """Return the posterior mean of each entry, given the entries of its group."""
    if not tau > 0:
        return noisy
    means = np.zeros_like(noisy)
    for group in np.unique(groups):
        members = groups == group
        if members.sum() >= LEAST_ENTRIES:
            means[members] = tau * posterior_mean(noisy[members] / tau)
    return means


def posterior_mean(noisy: Floats) -> Floats:
    """Return the posterior mean of values with unit noise.

    The prior is a mixture of normals around 0 with variances SCALES, fitted by 25 steps
    of EM (empirical Bayes as in Stephens 2017, section 2).
    """
    variances = np.array(SCALES) + 1.0
    logs = -0.5 * (np.square(noisy)[:, None] / variances + np.log(variances))
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True, initial=-np.inf))
    weights = np.full(len(variances), 1 / len(variances))
    for _ in range(EM_STEPS if len(noisy) else 0):
        joint = likelihood * weights
        weights = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    joint = likelihood * weights
    shrinkage = joint @ (1 - 1 / variances) / joint.sum(axis=1)
    means: Floats = shrinkage * noisy
    return means
