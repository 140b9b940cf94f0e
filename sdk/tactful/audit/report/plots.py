"""Figures of an audit as inline SVG; without matplotlib there are none."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tactful.audit.run import Audit
from tactful.audit.statistics.distributions import NORMAL, quantile
from tactful.errors import TactfulError
from tactful.privacy import rdp
from tactful.privacy.accountant import epsilon_for, epsilon_from_rho, mu_from_rho
from tactful.privacy.calibration import epsilon_with_missing_noise
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.lifetime import spent_epsilons
from tactful.privacy.mechanism import read_fraction
from tactful.protocol.documents.evidence import Residuals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, OTHER, INK = "#0b7a75", "#9aa5b1", "#1f2933"
STYLE_SHEET = Path(__file__).with_name("audit.mplstyle")


def figures(audit: Audit) -> Iterator[tuple[str, str]]:
    """Yield (caption, SVG) of every figure that the evidence allows.

    Without matplotlib there are none.
    """
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("svg")
    for caption, draw in FIGURES:
        # Without valid evidence a figure is left out; the check reports why.
        with suppress(TactfulError, ValueError, LookupError):
            yield caption, _svg(audit, draw)


def _svg(audit: Audit, draw: Callable[[Audit, Axes], None]) -> str:
    from matplotlib import pyplot

    with pyplot.style.context(STYLE_SHEET):
        figure, axes = pyplot.subplots(figsize=(5.6, 3.1), layout="constrained")
        try:
            draw(audit, axes)
            buffer = io.StringIO()
            figure.savefig(
                buffer, format="svg", transparent=True, metadata={"Date": None}
            )
        finally:
            pyplot.close(figure)
    # The page embeds the element alone, at the width of its column.
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", svg)


def _epsilon_by_release(audit: Audit, axes: Axes) -> None:
    delta = audit.case.claim.delta
    rhos = list(accumulate(event.rho for event in audit.case.events))
    numbers = range(1, len(rhos) + 1)
    exact = [epsilon_for(mu_from_rho(rho), delta) for rho in rhos]
    converted = [epsilon_from_rho(rho, delta) for rho in rhos]
    ceiling = [rdp.epsilon(rdp.gaussian(rho), delta) for rho in rhos]
    axes.fill_between(
        numbers,
        converted,
        ceiling,
        color=OTHER,
        alpha=0.4,
        label="from rho to Renyi bound",
    )
    axes.plot(numbers, exact, "o-", color=OURS, label="exact")
    for number, epsilon in zip(numbers, exact, strict=True):
        axes.annotate(
            f"{epsilon:.2f}", (number, epsilon), (4, -11), textcoords="offset points"
        )
    axes.axhline(
        audit.case.claim.epsilon,
        color=INK,
        linestyle="--",
        linewidth=1,
        label="claimed",
    )
    axes.set_xticks(list(numbers))
    axes.set_xlabel("releases so far")
    axes.set_ylabel(f"epsilon at delta {delta:g}")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _trade_off(audit: Audit, axes: Axes) -> None:
    run = audit.case.evidence.documents.canaries[0]
    scores, coins = np.array(run.scores), run.coins()
    mu = mu_from_rho(read_fraction("canaries.rho", run.rho))
    inside, outside = np.sort(scores[coins == 1]), np.sort(scores[coins == 0])
    limits = np.quantile(scores, np.linspace(0, 1, 200))
    false_positives = 1 - np.searchsorted(outside, limits) / len(outside)
    true_positives = 1 - np.searchsorted(inside, limits) / len(inside)
    # The 95 % quantile of the Kolmogorov distribution is 1.36.
    band = 1.36 / math.sqrt(min(len(inside), len(outside)))
    axes.fill_between(
        false_positives,
        np.clip(true_positives - band, 0, 1),
        np.clip(true_positives + band, 0, 1),
        color=OURS,
        alpha=0.2,
    )
    axes.plot(false_positives, true_positives, color=OURS, label="canaries, 95 % band")
    rates = np.linspace(0.001, 0.999, 200)
    claimed = [1 - NORMAL.cdf(quantile(1 - float(rate)) - mu) for rate in rates]
    axes.plot(
        rates,
        claimed,
        color=INK,
        linestyle="--",
        linewidth=1,
        label="allowed by the claim",
    )
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.legend(frameon=False, loc="lower right")


def _bounds(audit: Audit, axes: Axes) -> None:
    finding = audit.finding("D1")
    values = dict(finding.figures) if finding else {}
    labels = {
        "one_run": "one run",
        "fdp": "one run, f-DP",
        "gaussian": "Gaussian",
        "claimed": "claimed",
    }
    names = [name for name in labels if name in values]
    bars = axes.barh(
        [labels[name] for name in names],
        [values[name] for name in names],
        color=[OTHER if name == "claimed" else OURS for name in names],
        height=0.6,
    )
    axes.bar_label(bars, fmt="{:.2f}", padding=4)
    axes.set_xlabel("epsilon: lower bounds by attacks, and the claim")
    axes.margins(x=0.15)


def _residual_shape(audit: Audit, axes: Axes) -> None:
    residuals, table = _residuals(audit)
    flat = np.sort(residuals.values.ravel().astype(np.float64))
    cdf = np.cumsum(table.masses())
    probabilities = (np.arange(1, 200) - 0.5) / 199
    expected = np.searchsorted(cdf, probabilities) + table.lowest
    measured = np.quantile(flat, probabilities)
    axes.plot(
        expected, expected, color=INK, linewidth=1, linestyle="--", label="declared law"
    )
    axes.plot(
        expected,
        measured,
        ".",
        color=OURS,
        markersize=4,
        label=f"{flat.size:,} residuals",
    )
    axes.set_xlabel("declared noise, levels")
    axes.set_ylabel("measured")
    axes.legend(frameon=False)


def _residual_masses(audit: Audit, axes: Axes) -> None:
    residuals, table = _residuals(audit)
    sigma = math.sqrt(float(table.variance))
    edges = np.unique(np.round(np.linspace(-4 * sigma, 4 * sigma, 41)))
    counts, _ = np.histogram(residuals.values.ravel(), edges)
    masses = table.masses()
    numbers = np.arange(table.lowest, -table.lowest + 1)
    expected, _ = np.histogram(numbers, edges, weights=masses * residuals.values.size)
    middles = (edges[1:] + edges[:-1]) / 2
    axes.bar(
        middles,
        counts,
        width=np.diff(edges) * 0.9,
        color=OURS,
        alpha=0.5,
        label="measured",
    )
    axes.plot(middles, expected, color=INK, linewidth=1, label="declared law")
    axes.set_xlabel("noise of one party, levels")
    axes.set_ylabel("number of coordinates")
    axes.legend(frameon=False)


def _residuals(audit: Audit) -> tuple[Residuals, NoiseTable]:
    """Return the residuals of the evidence, and the table of their declared law."""
    residuals = audit.case.evidence.residuals
    if residuals is None:
        raise LookupError("no residuals")
    numerator, _, denominator = residuals.sigma2.partition("/")
    sigma2 = Fraction(int(numerator), int(denominator))
    return residuals, NoiseTable.of(residuals.family, sigma2)


def _neighbours(audit: Audit, axes: Axes) -> None:
    finding = audit.finding("C1")
    values = dict(finding.figures) if finding else {}
    if not values:
        raise LookupError("no neighbours")
    bars = axes.barh(list(values), list(values.values()), color=OURS, height=0.6)
    axes.bar_label(bars, fmt="{:.3f}", padding=4)
    axes.axvline(1, color=INK, linestyle="--", linewidth=1)
    axes.set_xlabel("measured sensitivity / declared sensitivity")
    axes.margins(x=0.15)


def _missing(audit: Audit, axes: Axes) -> None:
    rho, delta = audit.case.events_rho, audit.case.claim.delta
    parts = [Fraction(twentieth, 20) for twentieth in range(19)]
    values = [epsilon_with_missing_noise(rho, delta, part) for part in parts]
    percents = [100 * float(part) for part in parts]
    axes.plot(percents, values, color=OURS)
    for index in (0, 10, 18):
        point = (percents[index], values[index])
        axes.annotate(f"{values[index]:.2f}", point, (4, 4), textcoords="offset points")
        axes.plot(*point, "o", color=OURS)
    axes.set_xlabel("percent of the noise variance missing")
    axes.set_ylabel("epsilon")
    axes.set_ylim(bottom=0)


def _charges(audit: Audit, axes: Axes) -> None:
    delta = audit.case.claim.delta
    for ledger in audit.case.ledgers:
        curve = [0.0, *spent_epsilons(ledger.charges, delta)]
        axes.step(range(len(curve)), curve, where="post", color=OURS, alpha=0.5)
    cap = read_fraction("cap", audit.case.ledgers[0].document.get("cap_rho"))
    axes.axhline(
        epsilon_for(mu_from_rho(cap), delta), color=INK, linestyle="--", linewidth=1
    )
    axes.set_xlabel("number of charges of each ledger; dashed: the cap")
    axes.set_ylabel(f"epsilon spent at delta {delta:g}")
    axes.set_ylim(bottom=0)


def _timeline(audit: Audit, axes: Axes) -> None:
    kinds = ("task", "result", "release")
    start = audit.case.log[0].time
    for entry in audit.case.log:
        point = (entry.time - start, kinds.index(entry.kind))
        axes.plot(*point, "o", color=OURS, markersize=5)
        axes.annotate(
            str(entry.index), point, (0, 6), textcoords="offset points", fontsize=7
        )
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set_ylim(-0.5, 2.7)
    axes.set_xlabel("seconds since the first entry; the labels are entry numbers")


FIGURES: tuple[tuple[str, Callable[[Audit, Axes], None]], ...] = (
    (
        "Joint epsilon of the releases, by each method of accounting.",
        _epsilon_by_release,
    ),
    (
        "Trade-off curve of the attack on canaries, and the one that the claim allows.",
        _trade_off,
    ),
    ("Lower bounds on epsilon from canaries, and the claim.", _bounds),
    (
        "Quantiles of the staging pair's noise against its declared law.",
        _residual_shape,
    ),
    ("Histogram of the staging pair's noise, and its declared law.", _residual_masses),
    ("Sensitivity to hostile vectors.", _neighbours),
    ("Epsilon if a part of the noise is missing.", _missing),
    ("Epsilon after each charge, for each ledger of the evidence.", _charges),
    ("Entries of the publication log.", _timeline),
)
