"""The audit's figures as inline SVG: one hue, values printed; without matplotlib there are none."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, OTHER, INK = "#0b7a75", "#9aa5b1", "#1f2933"
LOOK = Path(__file__).with_name("audit.mplstyle")


def figures(audit: Audit) -> Iterator[tuple[str, str]]:
    """(caption, SVG) of every figure that the evidence allows; none without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("svg")
    for caption, draw in DRAWN:
        with suppress(TactfulError, ValueError, LookupError):
            yield caption, _drawn(audit, draw)


def _drawn(audit: Audit, draw: Callable[[Audit, Axes], None]) -> str:
    from matplotlib import pyplot

    with pyplot.style.context(LOOK):
        figure, axes = pyplot.subplots(figsize=(5.6, 3.1), layout="constrained")
        try:
            draw(audit, axes)
            text = io.StringIO()
            figure.savefig(
                text, format="svg", transparent=True, metadata={"Date": None}
            )
        finally:
            pyplot.close(figure)
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    return re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", drawing)


def _epsilon_by_release(audit: Audit, axes: Axes) -> None:
    delta, rho, rhos = audit.case.claim.delta, Fraction(0), []
    for event in audit.case.events:
        rho += event.rho
        rhos.append(rho)
    places = range(1, len(rhos) + 1)
    exact = [epsilon_for(mu_from_rho(one), delta) for one in rhos]
    converted = [epsilon_from_rho(one, delta) for one in rhos]
    ceiling = [rdp.epsilon(rdp.gaussian(one), delta) for one in rhos]
    axes.fill_between(
        places, converted, ceiling, color=OTHER, alpha=0.4, label="rho to Renyi"
    )
    axes.plot(places, exact, "o-", color=OURS, label="exact")
    for place, value in zip(places, exact, strict=True):
        axes.annotate(
            f"{value:.2f}", (place, value), (4, -11), textcoords="offset points"
        )
    axes.axhline(
        audit.case.claim.epsilon,
        color=INK,
        linestyle="--",
        linewidth=1,
        label="claimed",
    )
    axes.set_xticks(list(places))
    axes.set_xlabel("releases so far")
    axes.set_ylabel(f"epsilon at delta {delta:g}")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _trade_off(audit: Audit, axes: Axes) -> None:
    one = audit.case.evidence.documents.canaries[0]
    scores, coins = np.array(one.scores), one.coins()
    mu = mu_from_rho(read_fraction("canaries.rho", one.rho))
    inside, outside = np.sort(scores[coins == 1]), np.sort(scores[coins == 0])
    limits = np.quantile(scores, np.linspace(0, 1, 200))
    false = 1 - np.searchsorted(outside, limits) / len(outside)
    true = 1 - np.searchsorted(inside, limits) / len(inside)
    band = 1.36 / math.sqrt(min(len(inside), len(outside)))  # Kolmogorov, 95 %
    axes.fill_between(
        false,
        np.clip(true - band, 0, 1),
        np.clip(true + band, 0, 1),
        color=OURS,
        alpha=0.2,
    )
    axes.plot(false, true, color=OURS, label="canaries, 95 % band")
    rates = np.linspace(0.001, 0.999, 200)
    claimed = [1 - NORMAL.cdf(quantile(1 - float(rate)) - mu) for rate in rates]
    axes.plot(
        rates, claimed, color=INK, linestyle="--", linewidth=1, label="the claim allows"
    )
    axes.set_xlabel("false alarms")
    axes.set_ylabel("canaries found")
    axes.legend(frameon=False, loc="lower right")


def _bounds(audit: Audit, axes: Axes) -> None:
    found = audit.finding("D1")
    values = dict(found.figures) if found else {}
    names = {"one_run": "one run", "fdp": "one run, f-DP", "gaussian": "Gaussian"}
    names["claimed"] = "claimed"
    drawn = axes.barh(
        [names[name] for name in names if name in values],
        [values[name] for name in names if name in values],
        color=[
            OTHER if name == "claimed" else OURS for name in names if name in values
        ],
        height=0.6,
    )
    axes.bar_label(drawn, fmt="{:.2f}", padding=4)
    axes.set_xlabel("epsilon: what attacks refute, and what is claimed")
    axes.margins(x=0.15)


def _residual_shape(audit: Audit, axes: Axes) -> None:
    residuals = audit.case.evidence.residuals
    if residuals is None:
        raise LookupError("no residuals")
    numerator, _, denominator = residuals.sigma2.partition("/")
    table = NoiseTable.of(residuals.family, Fraction(int(numerator), int(denominator)))
    flat = np.sort(residuals.values.ravel().astype(np.float64))
    below = np.cumsum(table.masses())
    chances = (np.arange(1, 200) - 0.5) / 199
    expected = np.searchsorted(below, chances) + table.lowest
    seen = np.quantile(flat, chances)
    axes.plot(
        expected, expected, color=INK, linewidth=1, linestyle="--", label="declared law"
    )
    axes.plot(
        expected, seen, ".", color=OURS, markersize=4, label=f"{flat.size:,} residuals"
    )
    axes.set_xlabel("declared noise, levels")
    axes.set_ylabel("measured")
    axes.legend(frameon=False)


def _residual_masses(audit: Audit, axes: Axes) -> None:
    residuals = audit.case.evidence.residuals
    if residuals is None:
        raise LookupError("no residuals")
    numerator, _, denominator = residuals.sigma2.partition("/")
    table = NoiseTable.of(residuals.family, Fraction(int(numerator), int(denominator)))
    sigma = math.sqrt(float(table.variance))
    edges = np.unique(np.round(np.linspace(-4 * sigma, 4 * sigma, 41)))
    counts, _ = np.histogram(residuals.values.ravel(), edges)
    masses = table.masses()
    places = np.arange(table.lowest, -table.lowest + 1)
    expected, _ = np.histogram(places, edges, weights=masses * residuals.values.size)
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
    axes.set_xlabel("noise of one half, levels")
    axes.set_ylabel("coordinates")
    axes.legend(frameon=False)


def _neighbours(audit: Audit, axes: Axes) -> None:
    found = audit.finding("C1")
    values = dict(found.figures) if found else {}
    if not values:
        raise LookupError("no neighbours")
    drawn = axes.barh(list(values), list(values.values()), color=OURS, height=0.6)
    axes.bar_label(drawn, fmt="{:.3f}", padding=4)
    axes.axvline(1, color=INK, linestyle="--", linewidth=1)
    axes.set_xlabel("measured over declared sensitivity")
    axes.margins(x=0.15)


def _missing(audit: Audit, axes: Axes) -> None:
    rho = sum((event.rho for event in audit.case.events), Fraction(0))
    parts = [Fraction(n, 20) for n in range(19)]
    values = [
        epsilon_with_missing_noise(rho, audit.case.claim.delta, part) for part in parts
    ]
    axes.plot([100 * float(part) for part in parts], values, color=OURS)
    for part in (0, 10, 18):
        axes.annotate(
            f"{values[part]:.2f}",
            (5 * part, values[part]),
            (4, 4),
            textcoords="offset points",
        )
        axes.plot(5 * part, values[part], "o", color=OURS)
    axes.set_xlabel("per cent of the counted noise missing")
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
    axes.set_xlabel("charges of each ledger shown; dashed: the cap")
    axes.set_ylabel(f"epsilon spent at delta {delta:g}")
    axes.set_ylim(bottom=0)


def _timeline(audit: Audit, axes: Axes) -> None:
    kinds = ("task", "result", "release")
    start = audit.case.log[0].time
    for entry in audit.case.log:
        axes.plot(
            entry.time - start, kinds.index(entry.kind), "o", color=OURS, markersize=5
        )
        axes.annotate(
            str(entry.index),
            (entry.time - start, kinds.index(entry.kind)),
            (0, 6),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set_ylim(-0.5, 2.7)
    axes.set_xlabel("seconds since the log began; numbers are places in it")


DRAWN: tuple[tuple[str, Callable[[Audit, Axes], None]], ...] = (
    ("What the releases cost together, counted each way.", _epsilon_by_release),
    ("Telling canaries in from out, against what the claim allows.", _trade_off),
    ("Lower bounds from canaries, and the claim.", _bounds),
    ("Noise of the staging pair against its declared law.", _residual_shape),
    ("The same, counted.", _residual_masses),
    ("What hostile vectors did to the sum.", _neighbours),
    ("Epsilon if a part of the noise were missing.", _missing),
    ("Charges of the devices shown.", _charges),
    ("The log.", _timeline),
)
