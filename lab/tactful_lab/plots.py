"""Plots as inline SVG: offline, printable, the same bytes for the same figures."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, OTHER, INK = "#0b7a75", "#9aa5b1", "#1f2933"
RIVALS = ("#b45309", "#4f6bb5", "#a23b72", "#6b7280", "#8a7a1f", "#b91c5c", "#5b4b8a")
LOOK = Path(__file__).with_name("tactful.mplstyle")
APART = (
    1.5  # times as far along a log axis: labels of ticks that are nearer would overlap
)


def bars(
    values: Mapping[str, float], *, ours: str, label: str, form: str = "{:.3f}"
) -> str:
    """Horizontal bars, one a name, with the value printed; `ours` stands out."""
    figure, axes = _figure(0.42 * len(values) + 0.7)
    names = list(values)[::-1]
    colours = [OURS if name == ours else OTHER for name in names]
    drawn = axes.barh(
        names, [values[name] for name in names], color=colours, height=0.62
    )
    axes.bar_label(
        drawn, labels=[form.format(values[name]) for name in names], padding=4
    )
    axes.set_xlabel(label)
    axes.margins(x=0.14)
    return _svg(figure)


def paired_bars(
    values: Mapping[str, Sequence[float]],
    columns: Sequence[str],
    *,
    label: str,
    across: str,
    form: str = "{:.0f} %",
) -> str:
    """Grouped columns: two named series over the same `columns`; the second is ours."""
    figure, axes = _figure(2.9)
    width = 0.8 / len(values)
    for place, (name, heights) in enumerate(values.items()):
        at = [
            column + (place - (len(values) - 1) / 2) * width
            for column in range(len(columns))
        ]
        drawn = axes.bar(at, heights, width, label=name, color=(OTHER, OURS)[place % 2])
        axes.bar_label(
            drawn, labels=[form.format(height) for height in heights], fontsize=8
        )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel(label)
    axes.set_xlabel(across)
    axes.legend(frameon=False)
    return _svg(figure)


def steps(
    spent: Sequence[float], *, cap: float, names: Sequence[str], label: str
) -> str:
    """What was spent after each named step, as a staircase below its cap."""
    figure, axes = _figure(2.6)
    axes.step(range(len(spent)), spent, where="post", color=OURS, linewidth=2)
    axes.plot(range(len(spent)), spent, "o", color=OURS)
    for place, value in enumerate(spent):
        axes.annotate(
            f"{value:.2f}", (place, value), (0, 7), textcoords="offset points"
        )
    axes.axhline(cap, color=INK, linestyle="--", linewidth=1)
    axes.annotate(f"cap {cap:.2f}", (0, cap), (0, 4), textcoords="offset points")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(label)
    axes.set_ylim(0, cap * 1.2)
    return _svg(figure)


def curves(
    places: Sequence[float],
    values: Mapping[str, Sequence[float]],
    *,
    label: str,
    across: str,
    at: float,
) -> str:
    """Named curves over the same `places`; the first is ours, with its value printed at `at`."""
    figure, axes = _figure(3.2)
    shades = (OURS, INK, OTHER)
    for shade, (name, heights) in zip(shades, values.items(), strict=False):
        axes.plot(places, heights, color=shade, label=name, linewidth=1.8)
    first = next(iter(values.values()))
    here = min(range(len(places)), key=lambda place: abs(places[place] - at))
    axes.plot(places[here], first[here], "o", color=OURS)
    axes.annotate(
        f"{first[here]:.2f}",
        (places[here], first[here]),
        (6, -12),
        textcoords="offset points",
    )
    axes.set_xlabel(across)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return _svg(figure)


Curve = Sequence[tuple[float, float, float, float, float]]


def readings(curves: Mapping[tuple[str, str], Curve]) -> str:
    """Per metric (row): how each arm's difference narrows with people, and when it is decided.

    A point is (people, difference, low, high, p at any time); p below 0.05 is filled.
    """
    metrics = list(dict.fromkeys(metric for metric, _ in curves))
    arms = list(dict.fromkeys(arm for _, arm in curves))
    figure, grid = _grid(len(metrics), len(arms))
    for (metric, arm), curve in curves.items():
        axes = grid[metrics.index(metric)][arms.index(arm)]
        people, difference, low, high, p = zip(*curve, strict=True)
        axes.fill_between(people, low, high, color=OURS, alpha=0.15, linewidth=0)
        axes.plot(people, difference, color=OURS, linewidth=1.6)
        for x, y, decided in zip(people, difference, p, strict=True):
            face = OURS if decided < 0.05 else "white"
            axes.plot(x, y, "o", markerfacecolor=face, markeredgecolor=OURS)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_title(f"{metric}: {arm}", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("people so far")
    return _svg(figure)


def _grid(
    rows: int, columns: int, *, alike: bool = True
) -> tuple[Figure, list[list[Axes]]]:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.style.use(LOOK)
    size = (3.1 * columns, 2.3 * rows)
    figure, grid = pyplot.subplots(
        rows,
        columns,
        figsize=size,
        layout="constrained",
        squeeze=False,
        sharey="row" if alike else False,
    )
    return figure, [list(row) for row in grid]


def _figure(height: float) -> tuple[Figure, Axes]:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.style.use(LOOK)
    return pyplot.subplots(figsize=(7.2, height), layout="constrained")


def _svg(figure: Figure) -> str:
    from matplotlib import pyplot

    text = io.StringIO()
    figure.savefig(
        text, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
    )
    pyplot.close(figure)
    drawing = text.getvalue()
    return re.sub(
        r'(<svg [^>]*?)width="[^"]*" height="[^"]*"',
        r"\1",
        drawing[drawing.index("<svg") :],
    )


def trade_offs(
    across: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    across_label: str,
    default: float,
) -> str:
    """One small panel for each named curve over the same knob; a dashed line at its default."""
    figure, panels = _grid(1, len(curves), alike=False)
    for axes, (name, values) in zip(panels[0], curves.items(), strict=True):
        axes.plot(across, values, "o-", color=OURS, linewidth=2, markersize=4)
        axes.axvline(default, color=INK, linestyle="--", linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(across_label)
        axes.set_ylim(0, 1.08 * max([*values, 1e-9]))  # no point is cut in half
    return _svg(figure)


def with_intervals(
    curves: Mapping[str, Sequence[tuple[float, float, float]]],
    lines: Mapping[str, float],
    *,
    label: str,
    across: str,
) -> str:
    """Named curves of (place, value, half an interval) on a log axis, and dashed levels.

    Curves whose name begins with "ours" stand out; names stand at the right, never over another.
    """
    figure, axes = _figure(4.4)
    ends: list[tuple[float, str, str]] = []
    markers = "osD^vP*X"
    for place, (name, points) in enumerate(curves.items()):
        x, y, spread = zip(*points, strict=True)
        ours = name.startswith("ours")
        colour = OURS if ours else RIVALS[place % len(RIVALS)]
        beside = 1.015 ** (
            place - len(curves) / 2
        )  # so that intervals do not hide each other
        axes.errorbar(
            [here * beside for here in x],
            y,
            spread,
            color=colour,
            linewidth=2.2 if ours else 1.2,
            marker=markers[place % len(markers)],
            markersize=4,
            capsize=3,
            linestyle="--" if name.endswith("pair") else "-",
        )
        ends.append((y[-1], name, colour))
    for name, level in lines.items():
        axes.axhline(level, color=INK, linestyle=":", linewidth=1)
        ends.append((level, f"{name}, no privacy", INK))
    _name_ends(axes, ends)
    axes.set_ylim(bottom=0)
    axes.set_xscale("log")
    ticks: list[float] = []
    for tick in sorted({point[0] for points in curves.values() for point in points}):
        if not ticks or tick >= APART * ticks[-1]:
            ticks.append(tick)
    axes.set_xticks(ticks, [f"{tick:,.12g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(across)
    axes.set_ylabel(label)
    return _svg(figure)


def by_day(
    days: Sequence[int], values: Mapping[str, Sequence[float]], *, label: str
) -> str:
    """Named curves over days; names stand at the right."""
    figure, axes = _figure(3.6)
    ends = []
    for place, (name, heights) in enumerate(values.items()):
        colour = RIVALS[place % len(RIVALS)]
        axes.plot(days, heights, "osD^v"[place % 5] + "-", color=colour, markersize=4)
        ends.append((heights[-1], name, colour))
    _name_ends(axes, ends)
    axes.set_ylim(bottom=0)
    axes.set_xticks(list(days))
    axes.set_xlabel("day")
    axes.set_ylabel(label)
    return _svg(figure)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Each name right of its curve's end, moved up where another stands."""
    apart = 0.045 * (max((end[0] for end in ends), default=1.0) or 1.0)
    lowest = -apart
    for value, name, colour in sorted(ends):
        lowest = max(value, lowest + apart)
        axes.annotate(
            name,
            (1.0, lowest),
            (8, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
        )
