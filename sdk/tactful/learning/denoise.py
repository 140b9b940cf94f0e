"""What lies below a noisy symmetric matrix: a few strong directions, and a shrunken rest."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCALES = (0.0, 0.5, 2.0, 8.0, 32.0, 128.0, 512.0)  # variances of true entries, in tau^2
STEPS, IMPUTATIONS = 25, 3
LEAST_ENTRIES = 50  # from which a spread of true entries is fitted; fewer are taken for noise


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
    edge = 2 * tau * math.sqrt(len(noisy))
    values, vectors = np.linalg.eigh(noisy)
    kept = values > edge
    strength = np.sqrt(np.square(values[kept]) - edge * edge)
    part: Floats = (vectors[:, kept] * strength) @ vectors[:, kept].T
    return part


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
