"""Days of shows and refusals as a picture: text for a terminal, or one self-contained page."""

from __future__ import annotations

from collections import Counter
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
    """The days as text: a full dot for each show, an open one for each refusal; then the sum."""
    most = max((_offers(day) for day in days), default=0)
    for day in days:
        refused = sum(day.refused.values())
        dots = "●" * _scaled(day.shown, most) + "○" * _scaled(refused, most)
        told = f"{day.shown:>4} shown" + (
            f", {refused} refused: {_why(day)}" if refused else ""
        )
        yield f"{day.date}  {dots:<{min(most, WIDTH) + 1}} {told}"
    yield total(days)


def total(days: Sequence[Day]) -> str:
    """All days in one sentence."""
    shown, refused = (
        sum(day.shown for day in days),
        sum((Counter(d.refused) for d in days), Counter()),
    )
    lost, clicks = sum(day.clicks_lost for day in days), sum(day.clicks for day in days)
    return (
        f"{len(days)} days: {shown} shown, {refused.total()} refused; "
        f"{clicks} clicks kept, {lost} on refused offers"
    )


def page(days: Sequence[Day], name: str) -> str:
    """The days as an HTML page without any address outside it."""
    most = max((_offers(day) for day in days), default=1)
    rows = "\n".join(_row(day, most) for day in days)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}</title>"
        f"<style>{STYLE}</style><h1>What {escape(name)} would have shown</h1>"
        f"<p>{escape(total(days))}. Filled: shown. Hatched: refused.</p>"
        "<table><tr><th>day<th>offers<th>shown<th>refused<th>clicks<th>why</tr>"
        f"\n{rows}\n</table></html>\n"
    )


def _row(day: Day, most: int) -> str:
    refused = sum(day.refused.values())
    bars = "".join(
        f'<span class={kind} style="width:{100 * count / most:.2f}%"></span>'
        for kind, count in (("shown", day.shown), ("refused", refused))
        if count
    )
    return (
        f'<tr><td>{day.date}<td class=bar><div role=img aria-label="{day.shown} shown, {refused} '
        f'refused">{bars}</div><td class=n>{day.shown}<td class=n>{refused}'
        f"<td class=n>{day.clicks}<td class=why>{escape(_why(day))}</tr>"
    )


def _why(day: Day) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(day.refused.items()))


def _offers(day: Day) -> int:
    return day.shown + sum(day.refused.values())


def _scaled(count: int, most: int) -> int:
    return count if most <= WIDTH else round(count * WIDTH / most)
