"""The demo's story as one self-contained page: no script, no font, no address outside it."""

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
    """One round as the pair ran it; `epsilon` is what one device has spent after it."""

    name: str
    reports: int
    coordinates: int
    upload_bytes: int
    epsilon: float
    seconds: float


@dataclass(frozen=True)
class ListedItem:
    """One place in a list: what and why."""

    title: str
    reasons: Sequence[str]


@dataclass(frozen=True)
class SentReport:
    """One report as it left the device: enough of its bytes to recognise it."""

    report_id: str
    bytes: int
    sha256: str
    first_bytes: str
    meaning: str
    rho: str
    epsilon_after: float


@dataclass(frozen=True)
class PersonPage:
    """One person's device: what it knows, shows, withholds and has sent."""

    liked: Sequence[str]
    before: Sequence[ListedItem]
    after: Sequence[ListedItem]
    withheld: str
    why_not: str
    sent: Sequence[SentReport]


@dataclass(frozen=True)
class ReportContent:
    """All that the page tells; `figures` is the JSON document as written."""

    figures: Mapping[str, object]
    utility: Mapping[
        str, tuple[float, float]
    ]  # name -> (recall@20, ndcg@100), ours first
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


def render(story: ReportContent) -> str:
    """The page as one HTML document."""
    parts = [
        _head(story),
        _utility(story),
        _repetition(story),
        _privacy(story),
        _uploads(story),
        _person(story.person),
        _assumptions(story),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>Tactful: one training, told</title>"
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(story: ReportContent) -> str:
    tiles = "".join(
        f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>'
        for name, value in story.tiles.items()
    )
    return (
        "<h1>Personalization that stays on the device, and knows when to stop</h1>"
        f'<p class="soft">One training on real data, told from start to end. '
        f"<code>{escape(story.command)}</code></p>"
        f'<div class="tiles">{tiles}</div>'
    )


def _utility(story: ReportContent) -> str:
    ndcg = plots.bars(
        {name: pair[1] for name, pair in story.utility.items()},
        ours=story.ours,
        label="NDCG@100 on people who were never in the training",
    )
    rows = [
        (name, f"{recall:.4f}", f"{ndcg_at:.4f}")
        for name, (recall, ndcg_at) in story.utility.items()
    ]
    return _section(
        "What it learnt",
        "Part of each held-out person's purchases is hidden; a list is good if it finds them. The "
        f"coloured bar, “{escape(story.ours)}”, is the model that leader and helper released: "
        f"at least {story.figures['wire_devices']:,} devices reported to them in each round, and "
        "the noise of both is in it. The other bars are for comparison; nobody released them.",
        _figure(
            ndcg,
            "Higher is better. The words of the titles are public and need nobody's history. “In "
            "one process” is the same code on all histories, without a network. EASE sees "
            "everybody's raw history: the ceiling without privacy.",
        ),
        _table(("method", "recall@20", "NDCG@100"), rows),
    )


def _repetition(story: ReportContent) -> str:
    columns = list(story.uncapped.times_seen)
    series = {
        "without caps and variety": [
            100 * story.uncapped.times_seen[c] for c in columns
        ],
        "as shipped": [100 * story.capped.times_seen[c] for c in columns],
    }
    drawn = plots.paired_bars(
        series,
        columns,
        label="share of what a person saw",
        across="how often that person had seen the same item by the end",
    )
    return _section(
        "How often the same thing came back",
        f"{escape(story.sessions)} A repeat is unwanted unless the item is one that "
        "people buy again and again and is due.",
        _figure(
            drawn,
            "Each column: of all (person, item) pairs shown, the share seen so often.",
        ),
        _table(
            ("lists", "unwanted repeats"),
            [
                (
                    "same ranker, no caps, no variety",
                    f"{story.uncapped.unwanted_rate:.1%}",
                ),
                ("as shipped", f"{story.capped.unwanted_rate:.1%}"),
            ],
        ),
    )


def _privacy(story: ReportContent) -> str:
    drawn = plots.steps(
        [0.0, *(one.epsilon for one in story.rounds)],
        cap=story.cap_epsilon,
        names=["before", *(one.name for one in story.rounds)],
        label="epsilon spent by one device",
    )
    return _section(
        "What it cost one person",
        "Each device charges its own ledger before a byte leaves and refuses beyond its cap. "
        f"Epsilon at delta = {story.figures['delta']}; unit: {story.figures['unit_of_privacy']}, "
        f"adjacency: {story.figures['adjacency']}. One half's noise is counted, both are added.",
        _figure(drawn, "Charges of one device over the training."),
    )


def _uploads(story: ReportContent) -> str:
    rows = [
        (
            one.name,
            f"{one.reports:,}",
            f"{one.coordinates:,}",
            f"{one.upload_bytes / 1000:,.1f} kB",
            f"{one.seconds:.1f} s",
        )
        for one in story.rounds
    ]
    drawn = plots.bars(
        {one.name: one.upload_bytes / 1000 for one in story.rounds},
        ours="",
        label="kB sent by one device",
        form="{:,.1f}",
    )
    return _section(
        "What travelled",
        "One report a round: an id, a rounded time, two sealed shares. Its size depends on the "
        "task, never on the person.",
        _figure(drawn, "Bytes uploaded per device and round."),
        _table(
            ("round", "reports", "coordinates", "bytes a device", "time"),
            rows,
            numbers=True,
        ),
    )


def _person(person: PersonPage) -> str:
    liked = ", ".join(escape(title) for title in person.liked)
    sent = [
        (
            one.report_id,
            f"{one.bytes:,}",
            one.rho,
            f"{one.epsilon_after:.3f}",
            one.meaning,
        )
        for one in person.sent
    ]
    raw = "".join(
        f"<p><code>{escape(one.first_bytes)}…</code><br>"
        f'<span class="soft">SHA-256 of all {one.bytes:,} bytes: '
        f"<code>{one.sha256}</code></span></p>"
        for one in person.sent
    )
    return _section(
        "One person's page",
        f"This device knows of: {liked}.",
        '<div class="columns"><div><h3>Before the first model</h3>'
        f"{_list(person.before)}</div><div><h3>After the refresh</h3>"
        f"{_list(person.after)}</div></div>"
        f'<p class="note"><b>Why not “{escape(person.withheld)}”?</b> {escape(person.why_not)}</p>'
        "<h3>Exactly what left this device</h3>"
        + _table(("report", "bytes", "rho", "epsilon after", "what it was"), sent)
        + raw,
    )


def _assumptions(story: ReportContent) -> str:
    items = "".join(f"<li>{escape(one)}</li>" for one in story.assumptions)
    return _section("What this page does not show", "", f"<ul>{items}</ul>")


def _section(title: str, lead: str, *parts: str) -> str:
    opening = f"<p>{lead}</p>" if lead else ""
    return f"<section><h2>{escape(title)}</h2>{opening}{''.join(parts)}</section>"


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _list(shown: Sequence[ListedItem]) -> str:
    lines = (
        f"<li>{escape(one.title)}<small>{escape('; '.join(one.reasons))}</small></li>"
        for one in shown
    )
    return f"<ol>{''.join(lines)}</ol>"


def _table(
    head: Iterable[str], rows: Iterable[Sequence[str]], *, numbers: bool = False
) -> str:
    align = ' class="n"' if numbers else ""
    top = "".join(
        f"<th{align if place else ''}>{escape(cell)}</th>"
        for place, cell in enumerate(head)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{align if place else ''}>{escape(cell)}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
