"""Report of a simulation: text for a terminal, or one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from tactful.caps_tools.simulate import Day

WIDTH = 40  # dots in the longest row
STYLE = """
body { margin: 0 auto; max-width: 900px; padding: 32px 24px; font: 15px/1.5 system-ui, sans-serif;
  color: #1f2933; background: #fff; }
h1 { font-size: 24px; margin: 0 0 4px; } p { margin: 4px 0 16px; color: #52606d; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { padding: 3px 10px 3px 0; text-align: left; vertical-align: middle; }
td:first-child { white-space: nowrap; }
th { border-bottom: 1px solid #cbd2d9; } td.n { text-align: right; } td.bar { width: 46%; }
.bar div { display: flex; height: 14px; } .shown { background: #0b7a75; }
.refused { background: repeating-linear-gradient(45deg, #d9e2ec 0 4px, #fff 4px 7px);
  outline: 1px solid #bcccdc; outline-offset: -1px; }
.why { color: #52606d; font-size: 13px; }
"""


def lines(days: Sequence[Day]) -> Iterator[str]:
    """Yield one line for each day, then the totals.

    A full dot stands for an impression, an open one for a refused offer.
    """
    most_offers = max((_offer_count(day) for day in days), default=0)
    width = min(most_offers, WIDTH) + 1
    for day in days:
        refused_count = sum(day.refused.values())
        full_dots = "●" * _scaled(day.shown, most_offers)
        open_dots = "○" * _scaled(refused_count, most_offers)
        dots = full_dots + open_dots
        counts = f"{day.shown:>4} shown"
        if refused_count:
            counts += f", {refused_count} refused: {_reasons(day)}"
        yield f"{day.date}  {dots:<{width}} {counts}"
    yield total(days)


def total(days: Sequence[Day]) -> str:
    """Return the totals of all days in one sentence."""
    shown_count = sum(day.shown for day in days)
    refused_count = sum(sum(day.refused.values()) for day in days)
    clicks = sum(day.clicks for day in days)
    clicks_lost = sum(day.clicks_lost for day in days)
    return (
        f"{len(days)} days: {shown_count} shown, {refused_count} refused; "
        f"{clicks} clicks kept, {clicks_lost} on refused offers"
    )


def page(days: Sequence[Day], name: str) -> str:
    """Return the days as an HTML page that loads nothing from elsewhere."""
    most_offers = max((_offer_count(day) for day in days), default=1)
    rows = "\n".join(_row(day, most_offers) for day in days)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}</title>"
        f"<style>{STYLE}</style><h1>What {escape(name)} would have shown</h1>"
        f"<p>{escape(total(days))}. Filled: shown. Hatched: refused.</p>"
        "<table><tr><th>day<th>offers<th>shown<th>refused<th>clicks<th>why</tr>"
        f"\n{rows}\n</table></html>\n"
    )


def _row(day: Day, most_offers: int) -> str:
    refused_count = sum(day.refused.values())
    bars = "".join(
        f'<span class={kind} style="width:{100 * count / most_offers:.2f}%"></span>'
        for kind, count in (("shown", day.shown), ("refused", refused_count))
        if count
    )
    label = f"{day.shown} shown, {refused_count} refused"
    return (
        f'<tr><td>{day.date}<td class=bar><div role=img aria-label="{label}">{bars}'
        f"</div><td class=n>{day.shown}<td class=n>{refused_count}"
        f"<td class=n>{day.clicks}<td class=why>{escape(_reasons(day))}</tr>"
    )


def _reasons(day: Day) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(day.refused.items()))


def _offer_count(day: Day) -> int:
    return day.shown + sum(day.refused.values())


def _scaled(count: int, most_offers: int) -> int:
    if most_offers <= WIDTH:
        return count
    return round(count * WIDTH / most_offers)
