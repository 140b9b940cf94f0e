"""The report as one page: no script, no font, no address outside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from tactful.audit.report.markdown import headline, listed, rows, seen
from tactful.audit.report.plots import figures
from tactful.audit.run import Audit
from tactful.audit.trust_assumptions import VOID

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --ours: #0b7a75; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f7f9fa; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 24px 80px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; } h2 { font-size: 19px; margin: 0 0 8px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; margin-top: 20px;
  padding: 20px 24px; overflow-x: auto; }
.soft, figcaption { color: var(--soft); font-size: 13.5px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px;
  margin-top: 18px; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 12px 16px; }
.tile b { display: block; font-size: 23px; color: var(--ours); font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; } td:first-child { white-space: nowrap; }
td { overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 20px; }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; }
.v { display: inline-block; border-radius: 6px; padding: 1px 8px; font-size: 12.5px;
  font-weight: 600; white-space: nowrap; background: #e3f2f1; color: #07514e; }
.v.REFUTED { background: #7a1f1f; color: #fff; }
.v.INCONCLUSIVE, .v.NOT-RUN { background: #fff3d6; color: #6b4a00; }
.v.ASSUMED { background: #eceff2; color: #3e4c59; }
"""


def render(report: Mapping[str, object], audit: Audit) -> str:
    """The page."""
    parts = [
        f"<h1>Audit: {escape(headline(report))}</h1>",
        f'<p class="soft">{escape(VOID[audit.case.placement])} Every other line rests on this.</p>',
        _tiles(report),
        _section("Checks", _checks(report)),
        _section("Figures", _figures(audit)),
        _section(
            "What this audit would have caught",
            '<p class="soft">The chance that each fault would have been seen, at the sizes of '
            "this evidence; a dash: this check did not run, or cannot see it.</p>"
            + _table(
                ("fault", "seen by"),
                ((r["fault"], seen(r)) for r in rows(report, "power")),
            ),
        ),
        _section(
            "Scenarios",
            _table(
                ("who misbehaves", "epsilon", "verdict"),
                (
                    (s["scenario"], s["epsilon"], s["verdict"])
                    for s in rows(report, "scenarios")
                ),
            ),
        ),
        _section("NIST SP 800-226 (initial public draft)", _hazards(report)),
        _section("Limits", _list(listed(report, "limits"))),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Tactful audit</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _tiles(report: Mapping[str, object]) -> str:
    claim, lower = report.get("claim"), report.get("lower")
    tiles: dict[str, str] = {}
    if isinstance(claim, Mapping):
        tiles[f"epsilon claimed at delta {claim['delta']:g}"] = (
            f"{claim['epsilon']:.3f}"
        )
        tiles["epsilon at delta 1e-5"] = f"{claim['epsilon_at_1e-5']:.3f}"
        tiles["if a device is replaced, not zeroed"] = (
            f"{claim['epsilon_replace_one']:.3f}"
        )
        if claim["above_meaningful"]:
            tiles[
                "is where the plain reading of epsilon ends; this claim is above it"
            ] = "1"
    if isinstance(lower, Mapping) and "gaussian" in lower:
        tiles[f"attacks refute, of {lower['claimed']:.2f} for that batch"] = (
            f"{lower['gaussian']:.2f}"
        )
    verdicts = [str(one["verdict"]) for one in rows(report, "checks")]
    tiles["checks that ran"] = str(sum(v != "NOT-RUN" for v in verdicts))
    tiles["refuted"] = str(verdicts.count("REFUTED"))
    drawn = "".join(
        f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>'
        for name, value in tiles.items()
    )
    return f'<div class="tiles">{drawn}</div>'


def _checks(report: Mapping[str, object]) -> str:
    body = "".join(
        f"<tr><td>{escape(str(one['id']))}</td>"
        f'<td><span class="v {escape(str(one["verdict"]))}">{escape(str(one["verdict"]))}</span>'
        f"</td><td>{escape(str(one['claim']))}</td><td>{escape(str(one['measured']))}</td></tr>"
        for one in rows(report, "checks")
    )
    return (
        "<table><thead><tr><th></th><th>verdict</th><th>claim</th><th>measured</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _figures(audit: Audit) -> str:
    drawn = "".join(
        f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, drawing in figures(audit)
    )
    if not drawn:
        return "<p>No figures: install <code>tactful[audit]</code>, or show more evidence.</p>"
    return f'<div class="grid">{drawn}</div>'


def _hazards(report: Mapping[str, object]) -> str:
    layers = report.get("nist")
    told = layers.items() if isinstance(layers, Mapping) else ()
    pyramid = "; ".join(f"{layer}: {status}" for layer, status in told)
    return f'<p class="soft">{escape(pyramid)}</p>' + _table(
        ("n", "hazard", "answer", "checks", "status"),
        (
            (
                h["n"],
                h["hazard"],
                h["answer"],
                " ".join(map(str, listed(h, "evidence"))),
                h["status"],
            )
            for h in rows(report, "hazards")
        ),
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"
        for cells in body
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _list(items: Iterable[object]) -> str:
    return f"<ul>{''.join(f'<li>{escape(str(item))}</li>' for item in items)}</ul>"
