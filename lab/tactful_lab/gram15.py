"""A prototype of the second release family: a denoised head Gram scored by EASE.

Central noise only, and not what the pair releases (design/learning.md 15, without its paid choice).
Everything after the two noisy sums is computed from them, so it costs no budget.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.learning.gate import signal_to_noise
from tactful.learning.plan import popularity_plan
from tactful.learning.subspace import Guide, finish
from tactful_lab.baselines import scorer
from tactful_lab.central import NO_NOISE, Curator, Fitted, histogram
from tactful_lab.central_gram import SENSITIVITY, HeadWeights, diagonal_of, head_ease, noisy_gram

Floats = NDArray[np.float64]

MOST_HEAD, LEAST_HEAD, STANDING = 1_400, 32, 5.0
LEAST_SIGNAL = 100.0  # SNR times the mean of sqrt(m); below it popularity is released
SHARES = ((100.0, 0.05), (50.0, 0.10), (0.0, 0.25))  # of the histogram, by least SNR
SCALES = (0.0, 0.5, 2.0, 8.0, 32.0, 128.0, 512.0)  # variances of true residuals, in tau^2
STEPS, BINS, IMPUTATIONS = 25, 4, 3
RIDGE, POPULARITY_SHARE = 0.003, 0.02


class Cleaned(NamedTuple):
    """A Gram without most of its noise, and the diagonal its low-rank part would have."""

    entries: Floats  # (head, head), diagonal 0
    diagonal: Floats


def gram15(curator: Curator) -> Fitted:
    """The recommender of section 15 where its gate is open, else popularity with all budget."""
    people, items = len(curator.users), curator.dataset.items
    snr = signal_to_noise(items, people, min(curator.mu, 1e6), 1.0)
    share = next(share for least, share in SHARES if snr >= least)
    guide, noisy, tau = counted(curator, share)
    size = head_size(guide, people, SENSITIVITY / (curator.mu * math.sqrt(1 - share)))
    signal = snr * float(noisy.sum()) / people
    if signal < LEAST_SIGNAL or size < LEAST_HEAD:
        return _popular(curator, noisy, tau, share)
    head = np.argsort(-guide.weights * guide.popularity, kind="stable")[:size]
    guide = Guide(
        guide.popularity,
        guide.weights,
        np.sort(head).astype(np.int32),
        np.zeros((size, 1), dtype=np.float32),
        guide.whitening,
    )
    gram, tau = noisy_gram(curator, guide, 1 - share)
    weights = head_ease(restored(gram, tau, diagonal_of(guide, people)), people, RIDGE)
    return Fitted(HeadWeights(guide, weights, POPULARITY_SHARE), items + size * (size - 1) // 2)


def counted(curator: Curator, share: float) -> tuple[Guide, Floats, float]:
    """Popularity and weights of all items, with the noisy histogram they were made of."""
    noisy, tau = curator.release(histogram(curator.dataset, curator.users), share)
    model = finish(noisy, max(tau, NO_NOISE), popularity_plan(curator.dataset.items), None)
    everything = np.arange(curator.dataset.items, dtype=np.int32)
    nothing = np.zeros((curator.dataset.items, 1), dtype=np.float32)
    whitening = np.ones(1, dtype=np.float32)
    guide = Guide(model.popularity, model.weights, everything, nothing, whitening)
    return guide, noisy, tau


def head_size(guide: Guide, people: int, tau: float) -> int:
    """The most items whose own share of the diagonal still stands out of the Gram's noise."""
    weighted = np.sort(guide.weights.astype(np.float64) * guide.popularity)[::-1]
    stands = people * weighted / np.cumsum(weighted) >= STANDING * tau
    return min(int(np.flatnonzero(stands).max(initial=-1)) + 1, MOST_HEAD)


def restored(gram: Floats, tau: float, diagonal: Floats) -> Floats:
    """The noisy Gram denoised, with a diagonal, positive semidefinite."""
    cleaned = denoised(gram, tau, diagonal)
    whole = cleaned.entries + np.diag(np.maximum(diagonal, cleaned.diagonal))
    values, vectors = np.linalg.eigh(whole)
    positive: Floats = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return positive


def denoised(gram: Floats, tau: float, diagonal: Floats) -> Cleaned:
    """A low-rank part that stands out of the noise, plus the posterior mean of the rest."""
    filled = gram + np.diag(diagonal)
    for _ in range(IMPUTATIONS):
        low = low_rank(filled, tau)
        filled = gram + np.diag(np.clip(np.diag(low), 0.0, diagonal))
    low = low_rank(filled, tau)
    upper = np.triu_indices(len(gram), 1)
    entries = np.zeros_like(gram)
    entries[upper] = low[upper] + shrunk_rest(
        (gram - low)[upper], tau, (diagonal[:, None] * diagonal[None, :])[upper]
    )
    return Cleaned(entries + entries.T, np.diag(low).copy())


def low_rank(matrix: Floats, tau: float) -> Floats:
    """Eigenvalues above the edge of the noise's spectrum, less what noise adds to them."""
    edge = 2 * tau * math.sqrt(len(matrix))
    values, vectors = np.linalg.eigh(matrix)
    kept = np.where(values > edge, np.sqrt(np.maximum(values**2 - edge**2, 0.0)), 0.0)
    part: Floats = (vectors * kept) @ vectors.T
    return part


def shrunk_rest(rest: Floats, tau: float, expected: Floats) -> Floats:
    """The posterior mean of each entry, by how often its two items can be expected together."""
    if not tau > 0:
        return rest
    edges = np.quantile(expected, np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, expected)
    means = np.empty_like(rest)
    for number in range(BINS):
        means[bins == number] = tau * posterior_mean(rest[bins == number] / tau)
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


def _popular(curator: Curator, noisy: Floats, tau: float, share: float) -> Fitted:
    """Popularity from two histograms, averaged by the budget each had."""
    again, _ = curator.release(histogram(curator.dataset, curator.users), 1 - share)
    mean = share * noisy + (1 - share) * again
    tau = max(tau * math.sqrt(share), NO_NOISE)
    model = finish(mean, tau, popularity_plan(curator.dataset.items), None)
    return Fitted(scorer(model), 2 * curator.dataset.items)
