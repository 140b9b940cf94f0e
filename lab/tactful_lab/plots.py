"""Plots as inline SVG without external files; equal figures give equal bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, OTHER, INK = "#0b7a75", "#9aa5b1", "#1f2933"  # colours
RIVALS = ("#b45309", "#4f6bb5", "#a23b72", "#6b7280", "#8a7a1f", "#b91c5c", "#5b4b8a")
STYLE_FILE = Path(__file__).with_name("tactful.mplstyle")
# The least ratio of two labelled ticks of a log axis; nearer labels would overlap.
LEAST_TICK_RATIO = 1.5


def bars(
    values: Mapping[str, float], *, ours: str, label: str, form: str = "{:.3f}"
) -> str:
    """Return horizontal bars with printed values; the bar `ours` is highlighted.

    `form` is the format of the values.
    """
    figure, axes = _figure(0.42 * len(values) + 0.7)
    names = list(values)[::-1]
    lengths = [values[name] for name in names]
    colours = [OURS if name == ours else OTHER for name in names]
    container = axes.barh(names, lengths, color=colours, height=0.62)
    labels = [form.format(length) for length in lengths]
    axes.bar_label(container, labels=labels, padding=4)
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
    """Return grouped bars of two named series over `columns`; the second is ours."""
    figure, axes = _figure(2.9)
    width = 0.8 / len(values)
    for number, (name, heights) in enumerate(values.items()):
        offset = (number - (len(values) - 1) / 2) * width
        positions = [column + offset for column in range(len(columns))]
        colour = (OTHER, OURS)[number % 2]
        container = axes.bar(positions, heights, width, label=name, color=colour)
        labels = [form.format(height) for height in heights]
        axes.bar_label(container, labels=labels, fontsize=8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel(label)
    axes.set_xlabel(across)
    axes.legend(frameon=False)
    return _svg(figure)


def steps(
    spent: Sequence[float], *, cap: float, names: Sequence[str], label: str
) -> str:
    """Return a step plot of the budget spent after each named step, below its cap."""
    figure, axes = _figure(2.6)
    axes.step(range(len(spent)), spent, where="post", color=OURS, linewidth=2)
    axes.plot(range(len(spent)), spent, "o", color=OURS)
    for number, value in enumerate(spent):
        axes.annotate(
            f"{value:.2f}", (number, value), (0, 7), textcoords="offset points"
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
    """Return up to three named curves over the same `places`.

    The first is ours; its value is printed at the place nearest to `at`.
    """
    figure, axes = _figure(3.2)
    colours = (OURS, INK, OTHER)
    for colour, (name, heights) in zip(colours, values.items(), strict=False):
        axes.plot(places, heights, color=colour, label=name, linewidth=1.8)
    first = next(iter(values.values()))
    nearest = min(range(len(places)), key=lambda index: abs(places[index] - at))
    point = (places[nearest], first[nearest])
    axes.plot(*point, "o", color=OURS)
    axes.annotate(f"{point[1]:.2f}", point, (6, -12), textcoords="offset points")
    axes.set_xlabel(across)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return _svg(figure)


Curve = Sequence[tuple[float, float, float, float, float]]


def readings(curves: Mapping[tuple[str, str], Curve]) -> str:
    """Return the results of an experiment over the number of people.

    There is a row per metric and a column per arm. A point is (people, difference, low,
    high, anytime p); points with p below 0.05 are filled.
    """
    metrics = list(dict.fromkeys(metric for metric, _ in curves))
    arms = list(dict.fromkeys(arm for _, arm in curves))
    figure, grid = _grid(len(metrics), len(arms))
    for (metric, arm), curve in curves.items():
        axes = grid[metrics.index(metric)][arms.index(arm)]
        people, difference, low, high, p = zip(*curve, strict=True)
        axes.fill_between(people, low, high, color=OURS, alpha=0.15, linewidth=0)
        axes.plot(people, difference, color=OURS, linewidth=1.6)
        for x, y, anytime_p in zip(people, difference, p, strict=True):
            face = OURS if anytime_p < 0.05 else "white"
            axes.plot(x, y, "o", markerfacecolor=face, markeredgecolor=OURS)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_title(f"{metric}: {arm}", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("people so far")
    return _svg(figure)


def trade_offs(
    across: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    across_label: str,
    default: float,
) -> str:
    """Return a panel for each named curve over the same parameter.

    A dashed line is at the default value of the parameter.
    """
    figure, panels = _grid(1, len(curves), share_y=False)
    for axes, (name, values) in zip(panels[0], curves.items(), strict=True):
        axes.plot(across, values, "o-", color=OURS, linewidth=2, markersize=4)
        axes.axvline(default, color=INK, linestyle="--", linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(across_label)
        # Some space above, so that no point is cut in half.
        axes.set_ylim(0, 1.08 * max([*values, 1e-9]))
    return _svg(figure)


def with_intervals(
    curves: Mapping[str, Sequence[tuple[float, float, float]]],
    lines: Mapping[str, float],
    *,
    label: str,
    across: str,
) -> str:
    """Return named curves on a log axis, with `lines` as horizontal levels.

    A point is (place, value, half of its interval). Curves whose name begins with
    "ours" are highlighted. Names are at the right end of the curves.
    """
    figure, axes = _figure(4.4)
    ends: list[tuple[float, str, str]] = []
    markers = "osD^vP*X"
    for number, (name, points) in enumerate(curves.items()):
        x, y, half_widths = zip(*points, strict=True)
        ours = name.startswith("ours")
        colour = OURS if ours else RIVALS[number % len(RIVALS)]
        # Curves are shifted a little, so that intervals do not hide each other.
        shift = 1.015 ** (number - len(curves) / 2)
        axes.errorbar(
            [place * shift for place in x],
            y,
            half_widths,
            color=colour,
            linewidth=2.2 if ours else 1.2,
            marker=markers[number % len(markers)],
            markersize=4,
            capsize=3,
            linestyle="--" if name.endswith("pair") else "-",
        )
        ends.append((y[-1], name, colour))
    for name, level in lines.items():
        axes.axhline(level, color=INK, linestyle=":", linewidth=1)
        ends.append((level, f"{name}, no privacy", INK))
    _label_ends(axes, ends)
    axes.set_ylim(bottom=0)
    axes.set_xscale("log")
    places = {point[0] for points in curves.values() for point in points}
    ticks = _spaced_ticks(sorted(places))
    axes.set_xticks(ticks, [f"{tick:,.12g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(across)
    axes.set_ylabel(label)
    return _svg(figure)


def by_day(
    days: Sequence[int], values: Mapping[str, Sequence[float]], *, label: str
) -> str:
    """Return named curves over days, with their names at the right end."""
    figure, axes = _figure(3.6)
    ends = []
    for number, (name, heights) in enumerate(values.items()):
        colour = RIVALS[number % len(RIVALS)]
        marker = "osD^v"[number % 5]
        axes.plot(days, heights, marker + "-", color=colour, markersize=4)
        ends.append((heights[-1], name, colour))
    _label_ends(axes, ends)
    axes.set_ylim(bottom=0)
    axes.set_xticks(list(days))
    axes.set_xlabel("day")
    axes.set_ylabel(label)
    return _svg(figure)


def _spaced_ticks(places: Sequence[float]) -> list[float]:
    """Return the sorted `places` without those that are too near to the one before."""
    ticks: list[float] = []
    for place in places:
        if not ticks or place >= LEAST_TICK_RATIO * ticks[-1]:
            ticks.append(place)
    return ticks


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write each (value, name, colour) at the right, moved up if it would overlap."""
    highest = max((value for value, _, _ in ends), default=1.0)
    line_height = 0.045 * (highest or 1.0)
    height = -line_height
    for value, name, colour in sorted(ends):
        height = max(value, height + line_height)
        axes.annotate(
            name,
            (1.0, height),
            (8, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
        )


def _figure(height: float) -> tuple[Figure, Axes]:
    """Return a figure with one plot; `height` is in inches."""
    # matplotlib is slow to import, so only commands that plot import it. The backend
    # "svg" needs no display.
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.style.use(STYLE_FILE)
    return pyplot.subplots(figsize=(7.2, height), layout="constrained")


def _grid(
    rows: int, columns: int, *, share_y: bool = True
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with a grid of plots; a row has one scale if `share_y`."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.style.use(STYLE_FILE)
    figure, grid = pyplot.subplots(
        rows,
        columns,
        figsize=(3.1 * columns, 2.3 * rows),
        layout="constrained",
        squeeze=False,
        sharey="row" if share_y else False,
    )
    return figure, [list(row) for row in grid]


def _svg(figure: Figure) -> str:
    """Return the figure as an SVG element that fills the width of its parent."""
    from matplotlib import pyplot

    text = io.StringIO()
    # Without date and creator, equal figures give equal bytes.
    metadata = {"Date": None, "Creator": None}
    figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    pyplot.close(figure)
    document = text.getvalue()
    element = document[document.index("<svg") :]
    return re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", element)
