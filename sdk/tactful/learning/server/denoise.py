"""What lies below a noisy symmetric matrix: a few strong directions, and a shrunken rest."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.learning.count_sketch import Sketch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCALES = (0.0, 0.5, 2.0, 8.0, 32.0, 128.0, 512.0)  # variances of true entries, in tau^2
STEPS, IMPUTATIONS = 25, 3
LEAST_ENTRIES = (
    50  # from which a spread of true entries is fitted; fewer are taken for noise
)
PASSES, LEAST_FALL = (
    10,
    0.995,
)  # of message passing: at most, and the noise goes on falling so


class Noisy(NamedTuple):
    """A symmetric matrix with diagonal 0, and the noise on each of its entries."""

    matrix: Floats
    tau: float


def symmetric(upper: Floats, size: int) -> Floats:
    """The matrix with this strict upper triangle, row by row, and diagonal 0."""
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size, 1)] = upper
    return matrix + matrix.T


class Spectrum(NamedTuple):
    """What stands out of symmetric noise: eigenvalues, what is kept of them, eigenvectors."""

    values: Floats
    kept: Floats  # 0 up to the edge of the noise
    vectors: Floats

    @classmethod
    def of(cls, noisy: Floats, tau: float) -> Spectrum:
        """Eigenvalues e above 2 tau sqrt(n) are kept as sqrt(e^2 - 4 tau^2 n)."""
        edge = 2 * tau * math.sqrt(len(noisy))
        values, vectors = np.linalg.eigh(noisy)
        outside = np.where(values > edge, np.square(values) - edge * edge, 0.0)
        return cls(values, np.sqrt(outside), vectors)

    def part(self) -> Floats:
        """The matrix with what is kept."""
        out = self.kept > 0
        matrix: Floats = (self.vectors[:, out] * self.kept[out]) @ self.vectors[
            :, out
        ].T
        return matrix

    def divergence(self) -> float:
        """The sum of what each entry above the diagonal moves of itself in `part`.

        (f(a) - f(b)) / (a - b) over pairs of eigenvalues a and b, and f' once for each
        (Candes, Sing-Long and Trzasko 2013, for singular values).
        """
        out = self.kept > 0
        values, kept = self.values[out], self.kept[out]
        apart = values[:, None] - self.values
        rise = np.divide(
            kept[:, None] - self.kept, apart, out=np.zeros_like(apart), where=apart > 0
        )
        return float(rise.sum() + (values / kept).sum())


def recovered(told: Floats, tau: float, sketch: Sketch, most: Floats) -> Noisy:
    """The matrix whose upper triangle has this sketch, told with noise `tau` on each number.

    Approximate message passing (Donoho, Maleki and Montanari 2009): what stands out of the noise
    is taken out of the sketch, so that what shares its buckets is told with less. The correction
    by Onsager's term keeps the noise that is left like fresh noise. `most` is as in `low_rank`.
    """
    size = len(most)
    if not sketch.buckets:
        return Noisy(symmetric(told, size), tau)
    upper = np.triu_indices(size, 1)
    found, left, kept, diagonal = np.zeros(sketch.entries), told, 0.0, np.zeros(size)
    best = Noisy(np.zeros((size, size)), math.inf)
    for _ in range(PASSES):
        left = told - sketch.of_all(found) + left * kept
        level = max(math.sqrt(float(np.square(left).mean())), tau)
        if level > LEAST_FALL * best.tau:
            break
        best = Noisy(symmetric(found + sketch.read(left), size), level)
        spectrum = Spectrum.of(best.matrix + np.diag(diagonal), level)
        part = spectrum.part()
        found, diagonal = part[upper], np.clip(np.diag(part), -most, most)
        kept = spectrum.divergence() / sketch.buckets
    return best


def low_rank(noisy: Floats, tau: float, most: Floats) -> Floats:
    """The part of `noisy` that stands out of symmetric noise of deviation `tau`, shape (n, n).

    Eigenvalues above the noise's edge, less what noise adds to them. The diagonal of `noisy` is
    not known: it is filled in from that part, in turn, at most `most` in size.
    """
    part = above_the_edge(noisy, tau)
    for _ in range(IMPUTATIONS):
        part = above_the_edge(noisy + np.diag(np.clip(np.diag(part), -most, most)), tau)
    return part


def above_the_edge(noisy: Floats, tau: float) -> Floats:
    """Eigenvalues e above 2 tau sqrt(n) as sqrt(e^2 - 4 tau^2 n), the others as 0."""
    return Spectrum.of(noisy, tau).part()


def shrunk(noisy: Floats, tau: float, groups: Ints) -> Floats:
    """The posterior mean of each entry, given those of its group: they may spread differently."""
    if not tau > 0:
        return noisy
    means = np.zeros_like(noisy)
    for group in np.unique(groups):
        members = groups == group
        if members.sum() >= LEAST_ENTRIES:
            means[members] = tau * posterior_mean(noisy[members] / tau)
    return means


def posterior_mean(noisy: Floats) -> Floats:
    """What lies below unit noise, under a mixture of normals about 0 fitted by 25 steps of EM.

    The variances are SCALES; empirical Bayes as in Stephens 2017, section 2.
    """
    variances = np.array(SCALES) + 1.0
    logs = -0.5 * (np.square(noisy)[:, None] / variances + np.log(variances))
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True, initial=-np.inf))
    weights = np.full(len(variances), 1 / len(variances))
    for _ in range(STEPS if len(noisy) else 0):
        joint = likelihood * weights
        weights = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    joint = likelihood * weights
    gains = joint @ (1 - 1 / variances) / joint.sum(axis=1)
    means: Floats = gains * noisy
    return means
