"""The report of the demo: one HTML page without scripts or external files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tactful_lab import plots
from tactful_lab.simulation.sessions import Repetition

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --ours: #0b7a75; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: #f7f9fa; }
main { max-width: 880px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 21px; margin: 0 0 6px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 24px 28px;
  margin-top: 24px; }
p { margin: 6px 0 12px; }
.soft, figcaption, footer { color: var(--soft); font-size: 14px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 14px;
  margin-top: 22px; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 14px 18px; }
.tile b { display: block; font-size: 25px; color: var(--ours); font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: 14.5px; margin: 8px 0; }
th, td { text-align: left; padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 10px 0; } svg { width: 100%; height: auto; display: block; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 28px; }
ol { padding-left: 22px; margin: 6px 0; } li { margin: 5px 0; }
li small { display: block; color: var(--soft); }
.note { border-left: 3px solid var(--ours); padding: 4px 0 4px 14px; }
"""


@dataclass(frozen=True)
class Round:
    """One round at the pair; `epsilon` is the spent budget of one device after it."""

    name: str
    reports: int
    coordinates: int
    upload_bytes: int
    epsilon: float
    seconds: float


@dataclass(frozen=True)
class ListedItem:
    """One item of a list, with its reasons."""

    title: str
    reasons: Sequence[str]


@dataclass(frozen=True)
class SentReport:
    """One report as the device sent it, with its first bytes."""

    report_id: str
    bytes: int
    sha256: str
    first_bytes: str
    meaning: str
    rho: str
    epsilon_after: float


@dataclass(frozen=True)
class PersonPage:
    """The page of one person: profile, lists, a denied item and sent reports.

    `before` and `after` are lists without and with the first model.
    """

    liked: Sequence[str]
    before: Sequence[ListedItem]
    after: Sequence[ListedItem]
    withheld: str
    why_not: str
    sent: Sequence[SentReport]


@dataclass(frozen=True)
class ReportContent:
    """The content of the page.

    `figures` is the JSON document. `utility` has recall@20 and NDCG@100 by method, with
    the released model, whose name is `ours`, first.
    """

    figures: Mapping[str, object]
    utility: Mapping[str, tuple[float, float]]
    ours: str
    rounds: Sequence[Round]
    cap_epsilon: float
    uncapped: Repetition
    capped: Repetition
    sessions: str
    person: PersonPage
    tiles: Mapping[str, str]
    command: str
    assumptions: Sequence[str]


def render(content: ReportContent) -> str:
    """Return the page as one HTML document."""
    parts = [
        _head(content),
        _utility(content),
        _repetition(content),
        _privacy(content),
        _uploads(content),
        _person(content.person),
        _assumptions(content),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>Tactful: report of the demo</title>"
        f"<style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(content: ReportContent) -> str:
    tiles = "".join(
        f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>'
        for name, value in content.tiles.items()
    )
    return (
        "<h1>On-device personalization with frequency caps and differential "
        "privacy</h1>"
        '<p class="soft">One training on real data, from the first round to the '
        f"released model. <code>{escape(content.command)}</code></p>"
        f'<div class="tiles">{tiles}</div>'
    )


def _utility(content: ReportContent) -> str:
    ndcg_plot = plots.bars(
        {name: ndcg for name, (_, ndcg) in content.utility.items()},
        ours=content.ours,
        label="NDCG@100 on people who were never in the training",
    )
    rows = [
        (name, f"{recall:.4f}", f"{ndcg:.4f}")
        for name, (recall, ndcg) in content.utility.items()
    ]
    return _section(
        "Ranking quality",
        "Part of the purchases of each test person is hidden. A ranking is good if the "
        "hidden items are near its top. The coloured bar, "
        f"“{escape(content.ours)}”, is the model that leader and helper released: "
        f"at least {content.figures['wire_devices']:,} devices reported to them in "
        "each round, and it contains the noise of both. The other bars are baselines; "
        "those models were not released.",
        _figure(
            ndcg_plot,
            "Higher is better. The words of the titles are public and need nobody's "
            "history. “In one process” is the same code on all histories, without a "
            "network. EASE sees everybody's raw history: a baseline without privacy.",
        ),
        _table(("method", "recall@20", "NDCG@100"), rows),
    )


def _repetition(content: ReportContent) -> str:
    capped, uncapped = content.capped, content.uncapped
    bins = list(uncapped.times_seen)
    series = {
        "without caps and diversity": [
            100 * uncapped.times_seen[name] for name in bins
        ],
        "default settings": [100 * capped.times_seen[name] for name in bins],
    }
    plot = plots.paired_bars(
        series,
        bins,
        label="share of the items that a person saw",
        across="how often the person saw the same item in all sessions",
    )
    rows = [
        ("same scores, without caps and diversity", f"{uncapped.unwanted_rate:.1%}"),
        ("default settings", f"{capped.unwanted_rate:.1%}"),
    ]
    return _section(
        "Repeated items",
        f"{escape(content.sessions)} A repeat is unwanted unless it is an item that "
        "people buy regularly and that is due again.",
        _figure(plot, "Share of all (person, item) pairs by number of impressions."),
        _table(("lists", "unwanted repeats"), rows),
    )


def _privacy(content: ReportContent) -> str:
    figures = content.figures
    plot = plots.steps(
        [0.0, *(completed.epsilon for completed in content.rounds)],
        cap=content.cap_epsilon,
        names=["before", *(completed.name for completed in content.rounds)],
        label="epsilon spent by one device",
    )
    return _section(
        "Privacy cost of one person",
        "Each device charges its own ledger before it sends anything, and refuses a "
        "charge above its lifetime cap. "
        f"Epsilon at delta = {figures['delta']}; unit: {figures['unit_of_privacy']}, "
        f"adjacency: {figures['adjacency']}. Both aggregators add noise; only that of "
        "one is counted.",
        _figure(plot, "Charges of one device over the training."),
    )


def _uploads(content: ReportContent) -> str:
    rows = [
        (
            completed.name,
            f"{completed.reports:,}",
            f"{completed.coordinates:,}",
            f"{completed.upload_bytes / 1000:,.1f} kB",
            f"{completed.seconds:.1f} s",
        )
        for completed in content.rounds
    ]
    kilobytes = {
        completed.name: completed.upload_bytes / 1000 for completed in content.rounds
    }
    plot = plots.bars(kilobytes, ours="", label="kB sent by one device", form="{:,.1f}")
    columns = ("round", "reports", "coordinates", "bytes per device", "time")
    return _section(
        "Uploads",
        "Each device sends one report per round: an id, a rounded time and two "
        "encrypted shares. The size depends on the task, never on the person.",
        _figure(plot, "Bytes uploaded per device and round."),
        _table(columns, rows, numbers=True),
    )


def _person(person: PersonPage) -> str:
    liked = ", ".join(escape(title) for title in person.liked)
    rows = [
        (
            report.report_id,
            f"{report.bytes:,}",
            report.rho,
            f"{report.epsilon_after:.3f}",
            report.meaning,
        )
        for report in person.sent
    ]
    columns = ("report", "bytes", "rho", "epsilon after", "content")
    first_bytes = "".join(map(_first_bytes, person.sent))
    return _section(
        "One person's page",
        f"This device knows these purchases: {liked}.",
        '<div class="columns"><div><h3>Before the first model</h3>'
        f"{_list(person.before)}</div><div><h3>With the released model</h3>"
        f"{_list(person.after)}</div></div>"
        f'<p class="note"><b>Why not “{escape(person.withheld)}”?</b> '
        f"{escape(person.why_not)}</p>",
        "<h3>All reports that this device sent</h3>",
        _table(columns, rows),
        first_bytes,
    )


def _first_bytes(report: SentReport) -> str:
    return (
        f"<p><code>{escape(report.first_bytes)}…</code><br>"
        f'<span class="soft">SHA-256 of all {report.bytes:,} bytes: '
        f"<code>{report.sha256}</code></span></p>"
    )


def _assumptions(content: ReportContent) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in content.assumptions)
    return _section("Limits of this demo", "", f"<ul>{items}</ul>")


def _section(title: str, introduction: str, *parts: str) -> str:
    opening = f"<p>{introduction}</p>" if introduction else ""
    return f"<section><h2>{escape(title)}</h2>{opening}{''.join(parts)}</section>"


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _list(items: Sequence[ListedItem]) -> str:
    lines = []
    for item in items:
        reasons = escape("; ".join(item.reasons))
        lines.append(f"<li>{escape(item.title)}<small>{reasons}</small></li>")
    return f"<ol>{''.join(lines)}</ol>"


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False
) -> str:
    """Return an HTML table; `numbers` aligns all columns but the first to the right."""
    head = _table_row("th", columns, numbers=numbers)
    body = "".join(_table_row("td", row, numbers=numbers) for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _table_row(tag: str, cells: Sequence[str], *, numbers: bool) -> str:
    parts = []
    for index, cell in enumerate(cells):
        attribute = ' class="n"' if numbers and index else ""
        parts.append(f"<{tag}{attribute}>{escape(cell)}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"
